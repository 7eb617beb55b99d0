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

from agent.config.tls_files import client_context
from agent.core import strict_json
from agent.core.hosts import is_loopback
from agent.errors import ConfigError
from agent.fleet.refusals import refusal
from agent.messages.topics import is_id

SCHEMA = "facepay.enrolment/1"
ANSWER_MAX_BYTES = 64 * 1024
TIMEOUT_S = 30.0
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
    return asyncio.run(_enrol(url, {"schema": SCHEMA, **body}, ca_file))


async def _enrol(url: str, body: dict[str, Any], ca_file: Path | None) -> Enrolled:
    checked = _checked(url)
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
            raise refusal("enrolment_unreachable", f"{server}: {type(error).__name__}: {error}") from error
    if response.status_code in _TOKEN_REFUSED:
        raise refusal("enrolment_refused", f"{server}: HTTP {response.status_code}")
    if response.status_code != 200:
        raise refusal("enrolment_failed", f"{server}: HTTP {response.status_code}")
    return _decode_answer(raw, str(body["terminal"]))


async def _read_body(response: httpx.Response) -> bytes:
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > ANSWER_MAX_BYTES:
            raise refusal("enrolment_failed", f"an answer of more than {ANSWER_MAX_BYTES} bytes")
    return bytes(raw)


def _decode_answer(raw: bytes, terminal: str) -> Enrolled:
    try:
        tree = strict_json.loads(raw)
    except ValueError as error:
        raise refusal("enrolment_failed", "the answer is not JSON") from error
    match tree:
        case {"site": str(site), "terminal": str(name), "certificate": str(cert), "ca": str(ca)}:
            if is_id(site) and name == terminal and cert.isascii() and ca.isascii():
                return Enrolled(site, name, cert.encode(), ca.encode())
    raise refusal("enrolment_failed", "the answer lacks site, terminal, certificate or ca, or is for another")


def _checked(url: str) -> httpx.URL:
    """The url, if https or on loopback, and without a password (process arguments are public)."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise refusal("enrolment_insecure", f"no address: {error}") from error
    if parts.userinfo:
        raise refusal("enrolment_insecure", "--url: without a user or password")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.host)):
        raise refusal(
            "enrolment_insecure", f"{parts.scheme}://{parts.host}: the token would be readable on the network"
        )
    return parts


def _trust(url: httpx.URL, ca_file: Path | None) -> ssl.SSLContext:
    if url.scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # no trusted authority
    try:
        return client_context("--ca-file", ca_file)
    except ConfigError as error:
        raise refusal("enrolment_insecure", str(error)) from error
