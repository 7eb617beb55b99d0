"""The listener of the service: accepts connections, bounds them, and hands over on a restart.

The listener uses uvicorn's HTTP protocol, but not uvicorn's server. The server accepts any number of
connections, never closes a silent one, and cannot continue to answer while it stops. Here:

1. At most ``connections_max`` connections are open, half of them from one address. At the limit an idle
   connection is closed in favour of the new one; without an idle one the new one gets code 15.
2. A connection without a complete request for ``HEADER_S`` seconds is closed; a connection between two
   requests after ``KEEPALIVE_S`` seconds; a connection whose client does not read its answers after
   ``UNREAD_S`` seconds. A TLS handshake has ``HANDSHAKE_S`` seconds and counts.
3. Accepting is bounded in its rate; further connections wait in the kernel's backlog.
4. While the service stops, each answer closes its connection, and ``drain`` waits for open requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from email.utils import formatdate

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from agent.compare.contract import ApiFailure, failure_body
from agent.core.rate import TokenBucket
from agent.log import facts
from agent.service.causes import Cause
from agent.service.http_connection import KEEPALIVE_S, HttpConnection, evict
from agent.service.stats import Stats

log = logging.getLogger(__name__)

HANDSHAKE_S = 5.0
_BACKLOG = 128
_HEADER_MAX_BYTES = 16 * 1024
_RECEIVE_BYTES = 64 * 1024  # asyncio's default of 256 kB would be the largest buffer of a connection
_ACCEPTS_PER_S, _ACCEPTS_BURST = 500.0, 500
_ACCEPT_PAUSE_S = 0.05
_SWEEP_S = 1.0
_CANCEL_S = 1.0
_BUSY = 15
_CLOSE = (b"connection", b"close")
_REFUSAL = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
)


class ServiceListener:
    """Serves ``app`` between ``open`` and ``close``, in the event loop of the caller."""

    def __init__(
        self, app: ASGIApp, stats: Stats, *, connections_max: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self.tls = tls  # may be replaced while listening; new connections use the new one
        self._config = uvicorn.Config(
            app,
            http=HttpConnection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEPALIVE_S,
            h11_max_incomplete_event_size=_HEADER_MAX_BYTES,
        )
        self._config.load()
        self._stats = stats
        self._connections_max = connections_max
        self._state = ServerState()
        self._handshakes: dict[asyncio.Task[None], tuple[str, socket.socket]] = {}
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._is_draining = False

    async def open(self, listener: socket.socket) -> None:
        """Listen. ``listener`` is bound; it may listen already, with connections in its backlog."""
        listener.setblocking(False)
        listener.listen(_BACKLOG)
        self._socket = listener
        self._stamp()
        self._sweeping = asyncio.create_task(self._sweep_often(), name="sweep")
        self._accepting = asyncio.create_task(self._accept(listener), name="accept")

    @property
    def connections(self) -> int:
        """Open connections, with those in a TLS handshake."""
        return len(self._state.connections) + len(self._handshakes)

    async def stop_accepting(self) -> None:
        """Accept no more. New connections wait in the backlog as long as any process keeps the socket."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None

    def finish_connections(self) -> None:
        """From now on each answer closes its connection."""
        self._is_draining = True
        self._stamp()

    async def drain(self, timeout_s: float) -> None:
        """Close the idle connections and wait for the open requests, at most ``timeout_s`` seconds.

        A request that is open after that is cancelled; the application sends its answer.
        """
        for each in list(self._state.connections):
            if isinstance(each, HttpConnection) and each.is_idle:
                each.shutdown()
        if self._state.tasks:
            _, late = await asyncio.wait(self._state.tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_CANCEL_S)

    async def close(self) -> None:
        """Cut every connection. Safe to call twice."""
        await self.stop_accepting()
        handshakes, self._handshakes = dict(self._handshakes), {}
        for each in list(self._state.connections):
            each.transport.abort()
        tasks = [*handshakes, *self._state.tasks, *([self._sweeping] if self._sweeping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task, (_, connection) in handshakes.items():
            if task.cancelled():  # otherwise the connection has a transport, which was aborted
                connection.close()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._sweeping = None

    async def _accept(self, listener: socket.socket) -> None:
        accepts = TokenBucket(_ACCEPTS_PER_S, _ACCEPTS_BURST, time.monotonic())
        while True:
            if not accepts.take(time.monotonic()):
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            try:
                connection, peer = await _accepted(listener)
            except OSError as error:  # out of file descriptors, or the peer has disconnected
                log.warning("accept_failed", extra=facts(why=error))
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            if self._has_room_for(peer):
                task = asyncio.create_task(self._connect(connection))
                self._handshakes[task] = (peer, connection)
                task.add_done_callback(lambda done: self._handshakes.pop(done, None))
            else:
                _refuse(connection, peer, self._stats, is_plain=self.tls is None)

    def _has_room_for(self, peer: str) -> bool:
        open_now = [each for each in self._state.connections if isinstance(each, HttpConnection)]
        peers = [each.peer for each in open_now] + [at for at, _ in self._handshakes.values()]
        if peers.count(peer) >= max(1, self._connections_max // 2):
            return evict([each for each in open_now if each.peer == peer])
        return len(peers) < self._connections_max or evict(open_now)

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: HttpConnection(self._config, self._state, {}),
                connection,
                ssl=self.tls,
                ssl_handshake_timeout=None if self.tls is None else HANDSHAKE_S,
            )
            if hasattr(transport, "max_size"):
                transport.max_size = _RECEIVE_BYTES
        except (OSError, ssl.SSLError) as error:
            connection.close()
            log.debug("handshake_failed", extra=facts(why=error))

    async def _sweep_often(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._stamp()
            now_s = time.monotonic()
            for each in list(self._state.connections):
                if isinstance(each, HttpConnection) and each.is_overdue(now_s):
                    each.transport.abort()

    def _stamp(self) -> None:
        """Set the headers of every answer, in place: open requests refer to the same list."""
        date = (b"date", formatdate(usegmt=True).encode())
        self._state.default_headers[:] = [date, _CLOSE] if self._is_draining else [date]


async def _accepted(listener: socket.socket) -> tuple[socket.socket, str]:
    """The next connection and its address. ``loop.sock_accept`` may lose a connection when cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            connection, address = listener.accept()
        except BlockingIOError:
            readable = asyncio.Event()
            loop.add_reader(listener, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(listener)
            continue
        connection.setblocking(False)
        return connection, str(address[0])


def _refuse(connection: socket.socket, peer: str, stats: Stats, *, is_plain: bool) -> None:
    failure = ApiFailure(_BUSY, "too many connections", cause=Cause.CONNECTIONS)
    stats.refused(failure)
    log.warning("connection_refused", extra=facts(cause=failure.cause, client=peer))
    body = failure_body(failure, "")
    with connection, contextlib.suppress(OSError):
        if is_plain:
            connection.send(_REFUSAL % (len(body), body))
            connection.shutdown(socket.SHUT_WR)
