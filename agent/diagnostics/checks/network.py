"""The way to the API: its name, its port, its certificate."""

from __future__ import annotations

import socket
import ssl

import httpx

from agent.diagnostics.check import Finding, Remedy, failed, passed, skipped, warning
from agent.diagnostics.probe import Endpoint, addresses, connect, is_address
from agent.diagnostics.world import World
from agent.errors import ConfigError
from agent.health.expiry import Nearness, days_left, nearness

# OpenSSL's X509_V_ERR_ numbers
_NOT_YET, _EXPIRED, _WRONG_NAME = 9, 10, 62
_UNKNOWN_ISSUER = {2, 18, 19, 20, 21}

RESOLVER = Remedy(
    "Check the network cable, the DNS server (cat /etc/resolv.conf), and the name under [compare] or [mqtt].",
    "请检查网线、DNS 服务器（cat /etc/resolv.conf），以及 [compare] 或 [mqtt] 中的主机名。",
)


def endpoint(world: World) -> Endpoint:
    """Raises ``ConfigError``."""
    try:
        return Endpoint.of(world.config().compare.url)
    except ValueError as error:
        raise ConfigError(f"compare.url: {error}") from error


def dns(world: World) -> Finding:
    where = endpoint(world)
    if is_address(where.host):
        return passed(f"{where.host} needs no name server")
    try:
        found = addresses(world, where.host, where.port)
    except OSError as error:
        return failed(unresolved(where.host, error), RESOLVER)
    return passed(f"{where.host} is {found[0][4][0]}")


def unresolved(host: str, error: OSError) -> str:
    """Why a name has no address, in words."""
    if isinstance(error, TimeoutError):
        return f"{host}: the name server never answers"
    words = {socket.EAI_NONAME: "no such name", socket.EAI_AGAIN: "the name server does not answer"}
    return f"{host}: {words.get(error.errno or 0, error.strerror or str(error))}"


def tcp(world: World) -> Finding:
    where = endpoint(world)
    try:
        connect(addresses(world, where.host, where.port)).close()
    except OSError as error:
        return failed(unconnected(str(where), error), way(error, "[compare] url"))
    return passed(f"{where} takes connections")


def unconnected(where: str, error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"{where}: connection refused: the machine is there, nothing listens"
    if isinstance(error, TimeoutError):
        return f"{where}: no answer: wrong address, or a firewall in between"
    return f"{where}: {error.strerror or error}"


def way(error: OSError, key: str) -> Remedy:
    """What to do about a connection that nobody took; ``key``: where its address stands in the config."""
    if isinstance(error, ConnectionRefusedError):  # so cable, name and route are right
        return Remedy(
            f"Start what should listen there (ask whoever runs it), or correct {key}.",
            f"请启动应在该处监听的服务（请联系其管理员），或修正 {key}。",
        )
    return Remedy(
        f"Check the network cable, the firewall and {key} in the config.",
        f"请检查网线、防火墙以及配置文件中的 {key}。",
    )


BROKER_KEYS = "[mqtt] host, port"
BROKER_WAY = way(OSError(), BROKER_KEYS)


def tls(world: World) -> Finding:
    where, config = endpoint(world), world.config().compare
    if not where.tls:
        return skipped("plain http")
    try:
        context = (
            ssl.create_default_context(cafile=config.ca_file)
            if config.ca_file
            else httpx.create_ssl_context(trust_env=False)
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"compare.ca_file {config.ca_file}: {error}") from error
    return handshake(world, where, context, "compare.ca_file")


def handshake(world: World, where: Endpoint, context: ssl.SSLContext, ca_key: str) -> Finding:
    """Judge a server's certificate as the agent itself does."""
    try:
        with (
            connect(addresses(world, where.host, where.port)) as plain,
            context.wrap_socket(plain, server_hostname=where.host) as link,
        ):
            ends = (link.getpeercert() or {}).get("notAfter")
    except ssl.SSLCertVerificationError as error:
        return _untrusted(where, error, ca_key)
    except ssl.SSLError as error:
        return failed(f"{where}: no TLS: {error.reason or error}", BROKER_WAY if "mqtt" in ca_key else _URL)
    except OSError as error:
        return failed(f"{where}: {error.strerror or type(error).__name__} during the TLS handshake", _URL)
    return _trusted(ssl.cert_time_to_seconds(str(ends)), world.unix_ms())


def _trusted(ends_unix_s: int, now_ms: int) -> Finding:
    words = f"certificate trusted, {days_left(ends_unix_s, now_ms)} days left"
    near = nearness(ends_unix_s, now_ms)
    if near is Nearness.FAR:
        return passed(words)
    return warning(words if near is Nearness.SOON else f"URGENT: {words}", _RENEW)


_URL = Remedy("Check that the address speaks TLS: scheme and port.", "请确认该地址使用 TLS：检查协议和端口。")
_RENEW = Remedy(
    "Have the server's certificate renewed; the terminal's own clock is judged by sys.clock and api.clock.",
    "请更新服务器证书；本终端时间由 sys.clock 和 api.clock 检查。",
)


def _untrusted(where: Endpoint, error: ssl.SSLCertVerificationError, ca_key: str) -> Finding:
    code = error.verify_code
    if code == _EXPIRED:
        return failed(f"{where}: the certificate has expired", _RENEW)
    if code == _NOT_YET:
        return failed(f"{where}: the certificate is not valid yet", _RENEW)
    if code == _WRONG_NAME:
        return failed(f"{where}: the certificate is for another name", _URL)
    if code in _UNKNOWN_ISSUER:
        remedy = Remedy(
            f"Name the CA that signed it under {ca_key}.", f"请在 {ca_key} 中指定签发该证书的 CA。"
        )
        return failed(f"{where}: the certificate's issuer is not trusted", remedy)
    return failed(f"{where}: {error.verify_message}", _URL)
