"""HTTP exchanges that cannot keep a connection, whenever and however often they are ended.

Contract: every exchange runs in a task of its own, over a connection that no other exchange uses meanwhile.
The connection of an exchange that fails, times out or is cancelled is closed and never lent again. The caller
may be cancelled at any moment and any number of times; the exchange is cancelled once.

Why: httpcore 1.0 closes a connection with awaits, under a shield of anyio. That shield does not hold against
``asyncio.Task.cancel``. A cancel that arrives while a connection is being closed leaves the connection
"active" in its pool: two of them filled a pool of two until the process was restarted. A cancelled TLS
handshake leaves its TCP socket open. So exchanges share no pool, and this module closes each socket as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import httpx

from agent.log import facts

log = logging.getLogger(__name__)

_CLOSE_S = 5.0  # a cancelled exchange ends within some turns of the event loop
OPENED = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})
_CHUNKS_END = b"0\r\n\r\n"
_HEAD_END = b"\r\n\r\n"
_RECEIVED_MAX_BYTES = 65_536  # where the end of an answer's headers is looked for
_Found = TypeVar("_Found")


class ExchangeConnection:
    """A client that has one TCP connection at most, and every socket that the client opened.

    Attributes:
        http: the client. Only the exchange that got this connection may use it.
        reads: reads from the connection's sockets so far.
        is_spent: the connection must not be lent again.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.reads = 0
        self.is_spent = False
        self._received = bytearray()  # of this exchange, at most ``_RECEIVED_MAX_BYTES``
        self._received_bytes = 0
        self._tail = b""
        self._streams: list[Any] = []

    def opened(self, stream: Any) -> None:
        """Take a stream as httpcore's trace hands it out when a connection is made: count its reads.

        Bytes that came after an answer's end stay in the HTTP parser of a kept connection and would be read
        as the answer to the *next* request: another person's similarity. An answer to a request cannot have
        been read before the request was sent, so its headers take at least one read.
        """
        self._streams = [each for each in self._streams if _is_open(each)]
        self._streams.append(stream)
        read = stream.read

        async def counted(*arguments: Any, **named: Any) -> bytes:
            self.reads += 1
            data: bytes = await read(*arguments, **named)
            self._received_bytes += len(data)
            self._tail = (self._tail + data[-len(_CHUNKS_END) :])[-len(_CHUNKS_END) :]
            self._received += data[: max(0, _RECEIVED_MAX_BYTES - len(self._received))]
            return data

        stream.read = counted

    def begin(self) -> None:
        """An exchange begins to count what it receives."""
        self._received.clear()
        self._received_bytes, self._tail = 0, b""

    def finish(self, body_bytes: int, *, is_chunked: bool) -> None:
        """An answer with a body of so many bytes was read: keep the connection only if nothing came after it.

        Surplus bytes would cost the next request, which could not be told from its answer. An answer after an
        interim one (1xx) does not add up either, and its connection is not kept.
        """
        head_bytes = self._received.find(_HEAD_END) + len(_HEAD_END)
        is_whole = self._received_bytes == head_bytes + body_bytes
        self.is_spent = self._tail != _CHUNKS_END if is_chunked else not is_whole
        self._received.clear()

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """httpcore's trace hook for an exchange that needs no times."""
        if event in OPENED:
            self.opened(info["return_value"])

    async def close(self) -> int:
        """Close the client, then what the client left open. Returns how many sockets that were."""
        await _ended(self.http.aclose)
        left = [stream for stream in self._streams if _is_open(stream)]
        for stream in reversed(left):  # the TLS stream before the TCP stream below it
            await _ended(stream.aclose)
        self._streams.clear()
        return len(left)


class Exchanges:
    """Lends one connection to each exchange; keeps one idle connection between two exchanges.

    Args:
        make: makes a client with at most one connection and without time-outs of its own.
        keeps_idle: False closes each connection after its exchange.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient], *, keeps_idle: bool = True) -> None:
        self._make = make
        self._keeps_idle = keeps_idle
        self._idle: ExchangeConnection | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def run(
        self, work: Callable[[ExchangeConnection], Coroutine[Any, Any, _Found]], timeout_s: float
    ) -> _Found:
        """Run ``work`` with a connection, at most ``timeout_s`` seconds in all.

        A kept connection that its pool does not lend is a fault of this process: the fault is logged, the
        connection is replaced, and ``work`` runs again. Nothing was sent then.

        Raises:
            TimeoutError: not done in time. What ``work`` raises is raised unchanged.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        idle, self._idle = self._idle, None
        if idle is not None:
            try:
                return await self._run_with(idle, work, timeout_s)
            except httpx.PoolTimeout:
                log.error("connection_pool_full")
        return await self._run_with(ExchangeConnection(self._make()), work, until_s - loop.time())

    async def _run_with(
        self,
        connection: ExchangeConnection,
        work: Callable[[ExchangeConnection], Coroutine[Any, Any, _Found]],
        timeout_s: float,
    ) -> _Found:
        task = asyncio.create_task(work(connection), name="exchange")
        try:
            await asyncio.wait((task,), timeout=timeout_s)
        finally:
            is_whole = task.done() and not task.cancelled() and task.exception() is None
            may_keep = is_whole and self._keeps_idle and not connection.is_spent and not self._is_closed
            if may_keep and self._idle is None:
                self._idle = connection
            else:
                self._discard(connection, task)
        if not task.done():
            raise TimeoutError
        return task.result()

    async def close(self) -> None:
        """Close the idle connection; return when all that were discarded are closed. Safe to call twice."""
        self._is_closed = True
        idle, self._idle = self._idle, None
        if idle is not None:
            await idle.close()
        while self._closing:
            await asyncio.wait(self._closing)

    def _discard(self, connection: ExchangeConnection, task: asyncio.Task[Any]) -> None:
        """End the exchange and close its connection in a task that no caller can cancel."""
        task.cancel()
        closing = asyncio.create_task(_close(connection, task), name="exchange-close")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _close(connection: ExchangeConnection, task: asyncio.Task[Any]) -> None:
    await asyncio.wait((task,), timeout=_CLOSE_S)
    if not task.done():
        log.error("exchange_not_ended", extra=facts(after_s=_CLOSE_S))
    elif not task.cancelled():
        task.exception()  # retrieved, or asyncio logs it: the caller is gone
    left = await connection.close()
    if left:
        log.info("connection_left_open", extra=facts(sockets=left))


async def _ended(close: Callable[[], Awaitable[None]]) -> None:
    """Call ``close``, at most 5 s. Whatever it raises, what is closed after it must not stay open."""
    try:
        async with asyncio.timeout(_CLOSE_S):
            await close()
    except Exception as error:
        log.error("connection_close_failed", extra=facts(error=type(error).__name__))


def _is_open(stream: Any) -> bool:
    socket = stream.get_extra_info("socket")
    return socket is not None and socket.fileno() >= 0
