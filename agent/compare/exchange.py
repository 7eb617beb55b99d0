"""HTTP exchanges that never leak a connection, even when they are cancelled repeatedly.

Contract: every exchange runs in a separate task, over a connection that no other exchange uses meanwhile. The
connection of an exchange that fails, times out, is cancelled or is marked as the last one is closed and never
reused. The caller may be cancelled at any time and any number of times; the exchange is cancelled once.

Why: httpcore 1.0 closes a connection with awaits, under a shield of anyio. ``asyncio.Task.cancel`` breaks
that shield. A cancel that arrives while a connection is being closed leaves the connection
"active" in its pool: two of them filled a pool of two until the process was restarted. A cancelled TLS
handshake leaves its TCP socket open. Therefore exchanges share no pool, and this module closes each socket.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar

import httpx

from agent.compare.answer_body import ChunkedBody, after_head
from agent.log import facts

log = logging.getLogger(__name__)

KEEPALIVE_S = 60
_POOL_S = 0.1  # an idle connection is available at once
_CLOSE_S = 5.0  # a cancelled exchange ends within a few iterations of the event loop
OPENED = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})
_CHUNKS_END = b"0\r\n\r\n"
_HEAD_END = b"\r\n\r\n"
_RECEIVED_MAX_BYTES = 65_536  # the end of the headers is searched within this size
# Of one answer, with its interim answers (1xx). A server can send these without an end, and the parser of a
# piece leaves no time for anything else in the event loop.
_HEAD_MAX_BYTES, _HEAD_PIECE_BYTES = 65_536, 4_096
_Found = TypeVar("_Found")


def client(context: ssl.SSLContext) -> httpx.AsyncClient:
    """HTTP/1.1, one connection, kept while idle; no proxies from the environment.

    The caller sets a total timeout; httpx has timeouts per phase only.
    """
    return httpx.AsyncClient(
        verify=context,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(None, pool=_POOL_S),
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_S),
        headers={"Accept-Encoding": "identity", "User-Agent": "facepay-agent"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # accepts no cookie
    )


class ExchangeConnection:
    """A client with at most one TCP connection, and all sockets that the client opened.

    Attributes:
        http: the client. Only the exchange that holds this connection may use it.
        reads: reads from the connection's sockets so far.
        is_spent: the connection must not be reused.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.reads = 0
        self.is_spent = False
        self._received = bytearray()  # of this exchange, at most ``_RECEIVED_MAX_BYTES``
        self._received_bytes = 0
        self._tail = b""
        self._head_left_bytes: int | None = None  # None: the body is read
        self._head = bytearray()  # with the begin of the body
        self._chunks: ChunkedBody | None = None  # None: the body is not chunked
        self._streams: list[Any] = []

    def register_stream(self, stream: Any) -> None:
        """Register a new stream from httpcore's trace and count its reads.

        Bytes after the end of an answer stay in the HTTP parser of a reused connection. The parser would use
        those bytes as the answer to the *next* request: the similarity of another person. An answer cannot
        arrive before its request is sent, so its headers need at least one read.
        """
        self._streams = [stream for stream in self._streams if _is_open(stream)]
        self._streams.append(stream)
        read = stream.read

        async def counted(most_bytes: int, *arguments: Any, **named: Any) -> bytes:
            self.reads += 1
            if self._head_left_bytes is not None:
                if self._head_left_bytes < 1:
                    raise httpx.RemoteProtocolError("the header of the answer is too large")
                most_bytes = min(most_bytes, _HEAD_PIECE_BYTES)
            data: bytes = await read(most_bytes, *arguments, **named)
            if self._head_left_bytes is not None:
                self._head_left_bytes -= len(data)
                self._head += data
            elif self._chunks is not None:
                self._chunks.feed(data)
            self._received_bytes += len(data)
            self._tail = (self._tail + data[-len(_CHUNKS_END) :])[-len(_CHUNKS_END) :]
            self._received += data[: max(0, _RECEIVED_MAX_BYTES - len(self._received))]
            return data

        stream.read = counted

    def begin(self) -> None:
        """Reset the counters of received bytes for a new exchange."""
        self._received.clear()
        self._received_bytes, self._tail = 0, b""

    def finish(self, body_bytes: int, *, is_chunked: bool) -> None:
        """Decide after an answer whether the connection may be reused: only without surplus bytes.

        Surplus bytes would be taken for the answer to the next request. The size does not match after an
        interim answer (1xx) either, so that connection is not reused.
        """
        head_bytes = self._received.find(_HEAD_END) + len(_HEAD_END)
        is_whole = self._received_bytes == head_bytes + body_bytes
        self.is_spent = self._tail != _CHUNKS_END if is_chunked else not is_whole
        self._received.clear()

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """httpcore's trace hook for an exchange without time measurement."""
        if event in OPENED:
            self.register_stream(info["return_value"])
        elif event == "http11.send_request_headers.started":
            self._head_left_bytes, self._chunks = _HEAD_MAX_BYTES, None
        elif event == "http11.receive_response_headers.complete":
            self._head_left_bytes, head = None, bytes(self._head)
            self._head.clear()
            if any(name.lower() == b"transfer-encoding" for name, _ in info["return_value"][3]):
                self._chunks = ChunkedBody()
                self._chunks.feed(after_head(head))

    async def close(self) -> int:
        """Close the client, then each socket that the client left open; return their number."""
        await _close_in_time(self.http.aclose)
        left = [stream for stream in self._streams if _is_open(stream)]
        for stream in reversed(left):  # the TLS stream before the TCP stream below it
            await _close_in_time(stream.aclose)
        self._streams.clear()
        return len(left)


class Exchanges:
    """Gives one connection to each exchange; keeps one idle connection between two exchanges.

    Args:
        make: creates a client with at most one connection and without timeouts.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._idle: ExchangeConnection | None = None
        self._closing: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    async def run(
        self,
        exchange: Callable[[ExchangeConnection], Coroutine[Any, Any, _Found]],
        timeout_s: float,
        *,
        closes_connection: bool = False,
    ) -> _Found:
        """Run ``exchange`` with a connection, at most ``timeout_s`` seconds in total.

        ``closes_connection``: close the connection when ``exchange`` ends, whatever its end.

        An idle connection that its pool does not provide is a fault of this process. The fault is logged, the
        connection is replaced, and ``exchange`` runs again; nothing was sent before.

        Raises:
            TimeoutError: not finished in time. Exceptions of ``exchange`` are raised unchanged.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        idle, self._idle = self._idle, None
        if idle is not None:
            try:
                return await self._run_with(idle, exchange, timeout_s, closes_connection)
            except httpx.PoolTimeout:
                log.error("connection_pool_full")
        new = ExchangeConnection(self._make())
        return await self._run_with(new, exchange, until_s - loop.time(), closes_connection)

    async def _run_with(
        self,
        connection: ExchangeConnection,
        exchange: Callable[[ExchangeConnection], Coroutine[Any, Any, _Found]],
        timeout_s: float,
        closes_connection: bool,
    ) -> _Found:
        task = asyncio.create_task(exchange(connection), name="exchange")
        try:
            await asyncio.wait((task,), timeout=timeout_s)
        finally:
            is_whole = task.done() and not task.cancelled() and task.exception() is None
            may_keep = is_whole and not (closes_connection or connection.is_spent or self._is_closed)
            if may_keep and self._idle is None:
                self._idle = connection
            else:  # cancel the exchange and close its connection in a task that no caller can cancel
                task.cancel()
                self._close_later(_close(connection, task))
        if not task.done():
            raise TimeoutError
        return task.result()

    def _close_later(self, close: Coroutine[Any, Any, Any]) -> None:
        closing = asyncio.create_task(close, name="exchange-close")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close the idle connection and wait for the discarded connections. Safe to call twice."""
        self._is_closed = True
        idle, self._idle = self._idle, None
        if idle is not None:
            await idle.close()
        while self._closing:
            await asyncio.wait(self._closing)


async def _close(connection: ExchangeConnection, task: asyncio.Task[Any]) -> None:
    await asyncio.wait((task,), timeout=_CLOSE_S)
    if not task.done():
        log.error("exchange_not_ended", extra=facts(after_s=_CLOSE_S))
    elif not task.cancelled():
        task.exception()  # retrieved, otherwise asyncio logs it
    left = await connection.close()
    if left:
        log.info("connection_left_open", extra=facts(sockets=left))


async def _close_in_time(close: Callable[[], Awaitable[None]]) -> None:
    """Call ``close`` with a limit of 5 s. Its exception is logged, so that the next socket is closed, too."""
    try:
        async with asyncio.timeout(_CLOSE_S):
            await close()
    except Exception as error:
        log.error("connection_close_failed", extra=facts(error=type(error).__name__))


def _is_open(stream: Any) -> bool:
    socket = stream.get_extra_info("socket")
    return socket is not None and socket.fileno() >= 0
