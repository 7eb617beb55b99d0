"""How this room uses httpx: trusted certificates only, no environment, capped bodies, timed connects."""

from __future__ import annotations

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import certifi
import httpx

from agent.config.tls_files import client_context
from agent.core.ports import Clock

KEEPALIVE_S = 60
# IANA's HTTP content codings that compress
_COMPRESSED = frozenset(
    ["gzip", "x-gzip", "pack200-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi"]
)


def open_client(url: str, ca_file: Path | None) -> httpx.AsyncClient:
    """A client for one host: HTTP/1.1, one idle connection kept, no proxies from the environment.

    A second connection may exist while the first is being opened ahead of time. Time-outs are the caller's
    (a total one; httpx has them per phase only).
    """
    return httpx.AsyncClient(
        verify=_trust(url, ca_file),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 - every use stands under asyncio.timeout, which is total
        limits=httpx.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_S),
        headers={"Accept-Encoding": "identity", "User-Agent": "facepay-agent"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # takes none: nothing to send back
    )


def _trust(url: str, ca_file: Path | None) -> ssl.SSLContext:
    if not url.lower().startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; loading a store costs 20 ms
    return client_context("compare.ca_file", ca_file or Path(certifi.where()))


async def read_capped(response: httpx.Response, limit: int) -> bytes | None:
    """The body as it came over the wire; None when it is longer than ``limit`` or compressed.

    Stores label plain bytes with many words (``aws-chunked``, ``none``, nothing), so only codings that change
    the bytes are refused; the caller's sha256 or parser judges the bytes themselves.

    The caller's ``async with`` then closes the connection, so the rest is never read.
    """
    codings = response.headers.get("content-encoding", "").lower().split(",")
    if _COMPRESSED & {coding.strip() for coding in codings}:
        return None
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


class Reads:
    """Counts reads from the sockets of one client.

    Bytes that came after an answer's end stay in the HTTP parser of a kept connection and would be read as
    the answer to the *next* question: somebody else's similarity. An answer to this question cannot have been
    read before the question was sent, so its headers take at least one read.
    """

    def __init__(self) -> None:
        self.count = 0

    def watch(self, stream: Any) -> None:
        """``stream`` as httpcore's trace hands it out when a connection is made."""
        read = stream.read

        async def counted(*arguments: Any, **named: Any) -> bytes:
            self.count += 1
            data: bytes = await read(*arguments, **named)
            return data

        stream.read = counted


class Stopwatch:
    """httpx's trace hook for one exchange. Milliseconds.

    Attributes:
        connect_ms: how long it took to connect; 0 on a kept connection.
        stale: the answer's headers were there before the question was sent.
    """

    def __init__(self, clock: Clock, reads: Reads) -> None:
        self._clock = clock
        self._reads = reads
        self._reads_before = reads.count
        self.stale = False
        self._started_ms = clock.now_ms()
        self._connecting_ms: int | None = None
        self.connect_ms = 0

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._reads.watch(info["return_value"])
        if event == "http11.send_request_headers.started":
            self._reads_before = self._reads.count
        elif event == "http11.receive_response_headers.complete":
            self.stale = self._reads.count == self._reads_before
        elif event == "connection.connect_tcp.started":
            self._connecting_ms = self._clock.now_ms()
        elif event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self.connect_ms = self._clock.now_ms() - (self._connecting_ms or self._started_ms)

    def api_ms(self) -> int:
        """Time since the start without the connecting."""
        return self._clock.now_ms() - self._started_ms - self.connect_ms
