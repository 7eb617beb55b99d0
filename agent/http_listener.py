"""The HTTP listener of the page and of the service: bounds connections, their rate, and the time of each.

The listener uses uvicorn's HTTP protocol, but not uvicorn's server. The server handles the signals of the
process, wakes up ten times a second, accepts any number of connections, never closes a silent one, and cannot
continue to answer while it stops. Here:

1. ``refusal_for`` of the subclass limits the connections. A refused one gets one answer and is closed.
2. Accepting is bounded in its rate; further connections wait in the kernel's backlog.
3. A TLS handshake has ``handshake_s`` seconds and counts as a connection. A subclass can end the oldest one.
4. A connection without a complete request for ``header_s`` seconds is aborted, also one whose client does not
   read its answers.  A connection between two requests is closed after ``keepalive_s``.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
import traceback
from abc import ABC, abstractmethod
from asyncio import sslproto
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from agent.core.rate import TokenBucket
from agent.http_connection import HEADER_MAX_BYTES, Closed, HttpConnection
from agent.log import facts
from agent.tasks import end_tasks

log = logging.getLogger(__name__)

_RECEIVE_BYTES = 64 * 1024  # asyncio's default of 256 kB would be the largest buffer of a connection
_ACCEPT_PAUSE_S = 0.1
_SWEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Limits of one listener. ``accepts_per_s``: also the largest burst; ``backlog``: of the kernel."""

    handshake_s: float
    header_s: float
    keepalive_s: float
    accepts_per_s: int
    backlog: int


@dataclass(slots=True, eq=False)
class Handshake:
    """A connection without an HTTP connection yet. ``since_s``: monotonic time of its acceptance."""

    peer: str
    connection: socket.socket
    since_s: float
    is_ended: bool = False  # by ``end``; its task will close the connection

    def end(self) -> None:
        self.is_ended = True
        with contextlib.suppress(OSError):  # the client has left
            self.connection.shutdown(socket.SHUT_RDWR)


class HttpListener(ABC):
    """Serves ``app`` between ``listen`` and ``close``, in the event loop of the caller.

    Attributes:
        tls: may be replaced while listening; new connections use the new one. None: plain HTTP.
    """

    def __init__(
        self, app: ASGIApp, limits: ListenerLimits, *, tls: ssl.SSLContext | None = None, log_prefix: str = ""
    ) -> None:
        # asyncio allocates 256 kB for each connection before its handshake. It has no parameter for the size.
        sslproto.SSLProtocol.max_size = _RECEIVE_BYTES
        self.tls = tls
        self._limits = limits
        self._log_prefix = log_prefix
        self._config = uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.keepalive_s),
            h11_max_incomplete_event_size=HEADER_MAX_BYTES,
        )
        self._config.load()
        self._state = ServerState()
        self._handshakes: dict[asyncio.Task[None], Handshake] = {}  # the oldest first
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None

    @abstractmethod
    def refusal_for(self, peer: str) -> bytes | None:
        """None: serve a new connection of this address. Otherwise the whole answer of a refusal."""

    def note_closed(self, cause: Closed, peer: str) -> None:
        """Called for each connection that is closed without an answer of the application."""
        log.debug(f"{self._log_prefix}connection_closed", extra=facts(cause=cause, client=peer))

    @property
    def open_now(self) -> list[HttpConnection]:
        """The open connections without those in a TLS handshake."""
        return [
            connection for connection in self._state.connections if isinstance(connection, HttpConnection)
        ]

    @property
    def peers(self) -> list[str]:
        """The client's address of each open connection, with those in a TLS handshake."""
        return [connection.peer for connection in self.open_now] + [
            connection.peer for connection in self.handshakes
        ]

    @property
    def handshakes(self) -> list[Handshake]:
        """The connections in a TLS handshake, the oldest first."""
        return [connection for connection in self._handshakes.values() if not connection.is_ended]

    def listen(self, listener: socket.socket) -> None:
        """Listen. ``listener`` is bound; it may listen already, with connections in its backlog.

        Raises:
            OSError: another program listens on this address.
        """
        self._socket = listener
        listener.setblocking(False)
        listener.listen(self._limits.backlog)
        self._sweeping = asyncio.create_task(self._sweep_often(), name="sweep")
        self._accepting = asyncio.create_task(self._accept(listener), name="accept")

    async def stop_accepting(self) -> None:
        """Accept no more. New connections wait in the backlog as long as any process keeps the socket."""
        await end_tasks(self._accepting)
        self._accepting = None

    async def close(self) -> None:
        """Cut every connection. Safe to call twice, and before ``listen``."""
        await self.stop_accepting()
        if self._socket is not None:
            self._socket.close()
        for connection in self.open_now:
            connection.transport.abort()
        handshakes, self._handshakes = self._handshakes, {}
        await end_tasks(*handshakes, *self._state.tasks, self._sweeping)
        for task, handshake in handshakes.items():
            if task.cancelled():  # otherwise the connection has a transport, which was aborted
                handshake.connection.close()
        self._socket = self._sweeping = None

    def sweep(self) -> None:
        """Abort the connections of slow clients. Called every second."""
        now_s = time.monotonic()
        for connection in self.open_now:
            connection.abort_if_overdue(now_s)

    async def _sweep_often(self) -> None:
        while True:
            self.sweep()
            await asyncio.sleep(_SWEEP_S)

    async def _accept(self, listener: socket.socket) -> None:
        accepts = TokenBucket(self._limits.accepts_per_s, self._limits.accepts_per_s, time.monotonic())
        while True:
            if not accepts.take(time.monotonic()):
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            try:
                connection, peer = await _accepted(listener)
            except OSError as error:  # out of file descriptors, or the peer has disconnected
                log.warning(f"{self._log_prefix}accept_failed", extra=facts(why=error))
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            if (refusal := self.refusal_for(peer)) is not None:
                with connection, contextlib.suppress(OSError):
                    if self.tls is None:
                        connection.send(refusal)
                        connection.shutdown(socket.SHUT_WR)
                continue
            handshake = Handshake(peer, connection, time.monotonic())
            task = asyncio.create_task(self._connect(handshake))
            self._handshakes[task] = handshake
            task.add_done_callback(lambda done: self._handshakes.pop(done, None))
            if self.tls is None:  # open before the next one is judged: only an open one can give way
                await asyncio.wait([task])
            else:
                await asyncio.sleep(0)  # a burst of connections must not stop the handshakes

    async def _connect(self, handshake: Handshake) -> None:
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: HttpConnection(self._config, self._state, self._limits.header_s, self.note_closed),
                handshake.connection,
                ssl=self.tls,
                ssl_handshake_timeout=None if self.tls is None else self._limits.handshake_s,
            )
            if hasattr(transport, "max_size"):
                transport.max_size = _RECEIVE_BYTES
        except (OSError, ssl.SSLError) as error:
            handshake.connection.close()
            log.debug(f"{self._log_prefix}handshake_failed", extra=facts(why=error))
            # a frame holds the future that holds the error: the buffers would stay until a garbage collection
            traceback.clear_frames(error.__traceback__)
            self.note_closed(Closed.GAVE_WAY if handshake.is_ended else Closed.HANDSHAKE, handshake.peer)


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet, so no client can connect. Raises ``OSError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol must be explicit: asyncio sets TCP_NODELAY on such sockets only. Without TCP_NODELAY every
    # answer (headers, then body) waits 40 ms for the delayed acknowledgement of the client.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


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
