"""Checks of the connection to the compare API: name, port, certificate."""

from __future__ import annotations

import socket
from pathlib import Path

import certifi

from agent.config.tls_files import client_context
from agent.core.hosts import is_address
from agent.diagnostics.check import Finding, failed, passed, skipped
from agent.diagnostics.checks.tls import URL, Keys, handshake
from agent.diagnostics.endpoint_probe import Endpoint, addresses, connect
from agent.diagnostics.world import World
from agent.errors import ConfigError
from agent.texts import Text


def endpoint(world: World) -> Endpoint:
    """Raises ``ConfigError``."""
    try:
        return Endpoint.of(world.config().compare.url)
    except ValueError as error:
        raise ConfigError(f"compare.url: {error}") from error


def dns(world: World) -> Finding:
    where = endpoint(world)
    if is_address(where.host):
        return passed(Text("why.net.dns.address", host=where.host))
    try:
        found = addresses(world, where.host, where.port)
    except OSError as error:
        return unresolved(where.host, error)
    return passed(Text("why.net.dns.found", host=where.host, address=found[0][4][0]))


def unresolved(host: str, error: OSError) -> Finding:
    reasons = {
        socket.EAI_NONAME: Text("why.net.dns.no_such_name"),
        socket.EAI_AGAIN: Text("why.net.dns.no_answer"),
    }
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    if isinstance(error, TimeoutError):
        reason = Text("why.net.dns.never")
    why = Text("why.net.dns.failed", host=host, reason=reason)
    return failed(why, Text("fix.name_not_resolved"))


def tcp(world: World) -> Finding:
    where = endpoint(world)
    try:
        connect(addresses(world, where.host, where.port)).close()
    except OSError as error:
        return unconnected(where, error, "[compare] url")
    return passed(Text("why.net.tcp.accepted", where=where))


def unconnected(where: Endpoint, error: OSError, key: str) -> Finding:
    """No TCP connection is possible. ``key``: the config key of the address."""
    if isinstance(error, ConnectionRefusedError):  # then cable, name and route are correct
        why = Text("why.net.tcp.refused", where=where)
        return failed(why, Text("fix.port_refuses", key_=key))
    reason: object = error.strerror or error
    if isinstance(error, TimeoutError):
        reason = Text("why.net.tcp.no_answer")
    why = Text("why.net.tcp.failed", where=where, reason=reason)
    return failed(why, Text("fix.host_unreachable", key_=key))


def tls(world: World) -> Finding:
    where, config = endpoint(world), world.config().compare
    if not where.tls:
        return skipped(Text("why.net.tls.plain"))
    context = client_context("compare.ca_file", config.ca_file or Path(certifi.where()))  # as the agent
    return handshake(world, where, context, Keys("[compare] url", "compare.ca_file"), URL)
