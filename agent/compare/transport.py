"""httpx as the compare client uses it: trusted certificates, size limits, connect times."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import httpx

from agent.compare.answer_body import SmallPieces
from agent.compare.exchange import OPENED, ExchangeConnection, client
from agent.config.tls_files import client_context
from agent.core.ports import Clock

# the compressing codings of IANA's HTTP Content Coding Registry
_COMPRESSED = frozenset(
    ["gzip", "x-gzip", "pack200-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi"]
)


def open_client(url: str, ca_file: Path | None) -> httpx.AsyncClient:
    """A client for one exchange at a time. Raises ``ConfigError``: an unusable ``ca_file``."""
    return client(trusted_certificates(url, ca_file))


def trusted_certificates(url: str, ca_file: Path | None) -> ssl.SSLContext:
    """The trusted certificates for ``url``. Raises ``ConfigError``: an unusable ``ca_file``."""
    if not url.lower().startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts no certificate; loading a store takes 20 ms
    return client_context("compare.ca_file", ca_file or Path(certifi.where()))


async def read_capped(response: httpx.Response, limit: int) -> bytes | None:
    """The body as received; None when it is longer than ``limit`` or compressed.

    Object stores label uncompressed bytes in many ways (``aws-chunked``, ``none``, no header). Only codings
    that change the bytes are refused; the caller checks the bytes with a sha256 or a parser. After None the
    caller must close the response, which closes the connection, so the rest is never read.
    """
    codings = response.headers.get("content-encoding", "").lower().split(",")
    if _COMPRESSED & {coding.strip() for coding in codings}:
        return None
    body, pieces = bytearray(), SmallPieces()
    async for chunk in response.aiter_raw():
        pieces.add(chunk)
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


async def read_whole(connection: ExchangeConnection, response: httpx.Response, limit: int) -> bytes | None:
    """As ``read_capped``, and decide whether the connection may be reused."""
    body = await read_capped(response, limit)
    connection.finish(len(body or b""), is_chunked="transfer-encoding" in response.headers)
    return body


class Stopwatch:
    """httpx's trace hook for one exchange. Milliseconds.

    Args:
        on_sent: called once, when the connection is open and the request body is about to be written. A
            request without this call never reached the API completely, so the request costs nothing.

    Attributes:
        connect_ms: time to connect; 0 on a reused connection.
        stale: the headers of the answer arrived before the request was sent.
        is_sent: ``on_sent`` was called.
    """

    def __init__(self, clock: Clock, on_sent: Callable[[], None]) -> None:
        self._clock = clock
        self._on_sent = on_sent
        self._connection: ExchangeConnection | None = None
        self._reads_before = 0
        self.stale = self.is_sent = False
        self._started_ms = clock.now_ms()
        self._connecting_ms: int | None = None
        self.connect_ms = 0

    def attach(self, request: httpx.Request, connection: ExchangeConnection) -> None:
        """Measure ``request``, which is sent over ``connection``."""
        self._connection = connection
        self._reads_before = connection.reads
        connection.begin()
        request.extensions["trace"] = self

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        assert self._connection is not None
        if event == "http11.receive_response_headers.complete":
            self.stale = self._connection.reads == self._reads_before
            if self.stale:  # the caller closes the connection
                return
        await self._connection.trace(event, info)
        if event in OPENED:
            self.connect_ms = self._clock.now_ms() - (self._connecting_ms or self._started_ms)
        elif event == "connection.connect_tcp.started":
            self._connecting_ms = self._clock.now_ms()
        elif event == "http11.send_request_headers.started":
            self._reads_before = self._connection.reads
        elif event == "http11.send_request_body.started" and not self.is_sent:
            self.is_sent = True
            self._on_sent()

    def api_ms(self) -> int:
        """Time since the start, without the time to connect."""
        return self._clock.now_ms() - self._started_ms - self.connect_ms
