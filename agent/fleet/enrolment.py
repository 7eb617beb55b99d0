"""The enrolment request of a terminal: a one-use token and a certificate signing request over https.

``POST {schema, token, csr, site, terminal, signing_key: {kid, sha256, pem}}``. Answer: 200 with
``{certificate, ca, site, terminal}``; 401, 403, 404, 409 or 410: the token is refused. Only the request and
public keys leave the terminal. The server's certificate is verified; redirects and proxies are not used.
"""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from agent import event_loop
from agent.config.tls_files import client_context
from agent.core import strict_json
from agent.core.hosts import is_loopback
from agent.errors import ConfigError, WrongValueError, failure_at, reason_of
from agent.fleet.fleet_errors import refusal
from agent.messages.topics import is_id
from agent.texts import Text, first_text

SCHEMA = "facepay.enrolment/1"
ANSWER_MAX_BYTES = 64 * 1024
TIMEOUT_S = 30.0
_CHAIN_MAX = 8  # causes of an exception
_TOKEN_REFUSED = (401, 403, 404, 409, 410)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The answer of the enrolment server; PEM texts, not checked."""

    site: str
    terminal: str
    certificate: bytes
    authority: bytes


def enrol(url: str, body: dict[str, Any], ca_file: Path | None) -> Enrolled:
    """Send one request. Raises ``FleetError`` (``enrolment_*``); the message never contains the token."""
    return event_loop.run(_enrol(url, {"schema": SCHEMA, **body}, ca_file))


async def _enrol(url: str, body: dict[str, Any], ca_file: Path | None) -> Enrolled:
    checked = check_url(url)
    server = str(checked.copy_with(query=None, fragment=None))  # a query may contain a secret
    async with httpx.AsyncClient(
        verify=_trust(checked, ca_file),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 - the total time-out is below
        headers={"Accept-Encoding": "identity", "User-Agent": "facepay-agent"},
    ) as client:
        try:
            async with asyncio.timeout(TIMEOUT_S), client.stream("POST", url, json=body) as response:
                raw = await _read_body(response)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise refusal("enrolment_unreachable", failure_at(server, _cause(error))) from error
    if response.status_code in _TOKEN_REFUSED:
        raise refusal("enrolment_refused", _status_at(server, response.status_code))
    if response.status_code != 200:
        raise refusal("enrolment_failed", _status_at(server, response.status_code))
    return _decode_answer(raw, str(body["terminal"]))


def _cause(error: Exception) -> Exception:
    """The first of the causes for which there is a text, e.g. the refusal of the certificate.

    Otherwise the kind of the failed exchange, e.g. ``ReadTimeout``: the message could quote the token.
    """
    cause: BaseException | None = error
    for _ in range(_CHAIN_MAX):
        if cause is None:
            break
        if isinstance(cause, OSError) and isinstance(reason_of(cause), Text):
            return cause
        cause = cause.__cause__ or cause.__context__
    kind = type(error).__name__
    return WrongValueError(first_text(f"http.{kind}", "http.other"))


def _status_at(server: str, status: int) -> Text:
    return Text("detail.at", place=server, reason=Text("detail.http_status", status=status))


async def _read_body(response: httpx.Response) -> bytes:
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > ANSWER_MAX_BYTES:
            raise refusal("enrolment_failed", Text("detail.answer_too_long", limit_bytes=ANSWER_MAX_BYTES))
    return bytes(raw)


def _decode_answer(raw: bytes, terminal: str) -> Enrolled:
    try:
        tree = strict_json.loads(raw)
    except ValueError as error:
        raise refusal("enrolment_failed", Text("detail.answer_not_json")) from error
    match tree:
        case {"site": str(site), "terminal": str(name), "certificate": str(cert), "ca": str(ca)}:
            if is_id(site) and name == terminal and cert.isascii() and ca.isascii():
                return Enrolled(site, name, cert.encode(), ca.encode())
    raise refusal("enrolment_failed", Text("detail.enrolment_answer"))


def check_url(url: str) -> httpx.URL:
    """The url, if https or on loopback, and without a password (process arguments are public)."""
    try:
        parts = httpx.URL(url)
        host = parts.host  # decoded here: a host that IDNA cannot decode raises
    except (httpx.InvalidURL, ValueError) as error:
        raise refusal("enrolment_insecure", Text("detail.url_wrong")) from error
    if parts.userinfo:
        raise refusal("enrolment_insecure", Text("detail.enrolment_url_password"))
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        why = Text("detail.enrolment_exposed", scheme=parts.scheme, host=host)
        raise refusal("enrolment_insecure", why)
    return parts


def _trust(url: httpx.URL, ca_file: Path | None) -> ssl.SSLContext:
    if url.scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # no trusted authority
    try:
        return client_context("--ca-file", ca_file)
    except ConfigError as error:
        raise refusal("enrolment_insecure", error.detail) from error
