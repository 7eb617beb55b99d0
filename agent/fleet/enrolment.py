"""A terminal's first word to the operator: a one-use token and a certificate request, over https.

``POST {schema, token, csr, site, terminal, signing_key: {kid, sha256, pem}}``, answered by 200 and
``{certificate, ca, site, terminal}``; 401, 403, 404, 409 or 410: the token is not taken. Only the request
and public keys leave the terminal. The server's certificate is verified; no redirect, no proxy.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx

from agent.config.tls_files import client_context
from agent.core import strict_json
from agent.errors import ConfigError
from agent.fleet.refusals import refusal
from agent.messages.topics import is_id

SCHEMA = "facepay.enrolment/1"
ANSWER_MAX_BYTES = 64 * 1024
TIMEOUT_S = 30.0
_NOT_TAKEN = (401, 403, 404, 409, 410)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What the desk said; PEM texts, not judged yet."""

    site: str
    terminal: str
    certificate: bytes
    authority: bytes


def enrol(url: str, body: dict[str, Any], ca_file: Path | None) -> Enrolled:
    """Ask once. Raises ``FleetError`` (``enrolment_*``), never with the token in it."""
    return asyncio.run(_enrol(url, {"schema": SCHEMA, **body}, ca_file))


async def _enrol(url: str, body: dict[str, Any], ca_file: Path | None) -> Enrolled:
    checked = _checked(url)
    desk = str(checked.copy_with(query=None, fragment=None))  # a query may hold what is nobody's business
    async with httpx.AsyncClient(
        verify=_trust(checked, ca_file),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 - the total one below
        headers={"Accept-Encoding": "identity", "User-Agent": "facepay-agent"},
    ) as client:
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                client.stream("POST", url, json=body) as response,
            ):
                raw = await _capped(response)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise refusal("enrolment_unreachable", f"{desk}: {type(error).__name__}: {error}") from error
    if response.status_code in _NOT_TAKEN:
        raise refusal("enrolment_refused", f"{desk}: HTTP {response.status_code}")
    if response.status_code != 200:
        raise refusal("enrolment_failed", f"{desk}: HTTP {response.status_code}")
    return _read(raw, str(body["terminal"]))


async def _capped(response: httpx.Response) -> bytes:
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > ANSWER_MAX_BYTES:
            raise refusal("enrolment_failed", f"an answer of more than {ANSWER_MAX_BYTES} bytes")
    return bytes(raw)


def _read(raw: bytes, terminal: str) -> Enrolled:
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
    """https, but for a desk on this very machine; no password, which an argument would show to everybody."""
    try:
        parts = httpx.URL(url)
        local = parts.host == "localhost" or ip_address(parts.host).is_loopback
    except httpx.InvalidURL as error:
        raise refusal("enrolment_insecure", f"no address: {error}") from error
    except ValueError:
        local = False
    if parts.userinfo:
        raise refusal("enrolment_insecure", "--url: without a user or password")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise refusal(
            "enrolment_insecure", f"{parts.scheme}://{parts.host}: the token would be readable on its way"
        )
    return parts


def _trust(url: httpx.URL, ca_file: Path | None) -> ssl.SSLContext:
    if url.scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
    try:
        return client_context("--ca-file", ca_file)
    except ConfigError as error:
        raise refusal("enrolment_insecure", str(error)) from error
