"""The page's listener in the agent's event loop. Verifications use the same loop, so the load is bounded.

The listener uses uvicorn's HTTP protocol, but not uvicorn's server. The server would handle the agent's
signals, wake up ten times a second without need, and accept any number of connections. Here:

1. At most ``CONNECTIONS_MAX`` connections are open, and ``PEER_CONNECTIONS_MAX`` per address; the rate of new
   connections is bounded, too. A connection above a limit gets a 503 response and is closed at once.
2. Connections are accepted at a bounded rate; further connections wait in the kernel's backlog.
3. A connection without a pending or completed response for some seconds is aborted. So an idle connection or
   half a request occupies a place for seconds only.
4. The send buffer is small: a viewer that stops reading is detected within some pictures, not minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from agent.core.rate import Senders, TokenBucket
from agent.errors import ConfigError
from agent.log import facts
from agent.texts import Text, every_line

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 32
PEER_CONNECTIONS_MAX = 12  # two browsers: each opens six, however many its tabs
ACCEPTS_PER_S, ACCEPTS_BURST = 100.0, 100  # a refusal costs little time
WELCOMES_PER_S, WELCOMES_BURST = 20.0, 60  # a TLS handshake takes milliseconds of the loop
PEER_WELCOMES_PER_MINUTE, PEER_WELCOMES_BURST = 600, 40
IDLE_S = 5.0
HANDSHAKE_S = 3.0
_BACKLOG = 64
_SEND_BUFFER_BYTES = 128 * 1024
_HEADER_MAX_BYTES = 16 * 1024
_ACCEPT_PAUSE_S = 0.1
_REFUSAL_HEAD = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Cache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
)


class Listener:
    """Listens between ``open`` and ``close``."""

    def __init__(self, app: ASGIApp, tls: ssl.SSLContext | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # access.py logs internal errors
        self._config = uvicorn.Config(
            app,
            http=H11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=int(IDLE_S),
            h11_max_incomplete_event_size=_HEADER_MAX_BYTES,
        )
        self._config.load()
        self._tls = tls
        body = every_line(Text("page.too_many_connections")).encode()
        self._refusal = _REFUSAL_HEAD % (len(body), body)
        self._state = ServerState()
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._welcoming: dict[asyncio.Task[None], tuple[str, socket.socket]] = {}  # task -> peer, connection
        self._welcomes = TokenBucket(WELCOMES_PER_S, WELCOMES_BURST, time.monotonic())
        self._peers = Senders(PEER_WELCOMES_PER_MINUTE, PEER_WELCOMES_BURST)
        self.turned_away = 0

    @property
    def port(self) -> int:
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    async def open(self, host: str, port: int) -> None:
        """Raises ``ConfigError`` (``page_unavailable``) when the address cannot be listened on."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # every accepted connection inherits this size
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            listener.setblocking(False)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            why = f"page.port: {host}:{port} cannot be listened on: {error.strerror}"
            raise ConfigError(why, code="page_unavailable", fix=Text("page.port_in_use")) from error
        self._socket = listener
        self._accepting = asyncio.create_task(self._accept(listener), name="page")

    async def close(self) -> None:
        """Cut every connection. Safe to call twice, and before ``open``."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        for each in list(self._state.connections):
            each.transport.abort()
        welcoming = dict(self._welcoming)
        tasks = [*welcoming, *self._state.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for welcome, (_, connection) in welcoming.items():
            if welcome.cancelled():  # otherwise the connection has a transport, which was aborted
                connection.close()
        self._accepting = None

    async def _accept(self, listener: socket.socket) -> None:
        accepts = TokenBucket(ACCEPTS_PER_S, ACCEPTS_BURST, time.monotonic())
        while True:
            if not accepts.take(time.monotonic()):
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            try:
                connection, peer = await _accepted(listener)
            except OSError as error:  # out of file descriptors, or the peer has disconnected
                log.warning("page_accept_failed", extra=facts(why=error))
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            if not self._has_room_for(peer):
                self._turn_away(connection)
                continue
            task = asyncio.create_task(self._welcome(connection))
            self._welcoming[task] = (peer, connection)
            task.add_done_callback(self._welcoming.pop)

    def _has_room_for(self, peer: str) -> bool:
        inside = [welcomed for welcomed, _ in self._welcoming.values()]
        inside += [
            each.client[0] for each in self._state.connections if isinstance(each, _Bounded) and each.client
        ]
        if len(inside) >= CONNECTIONS_MAX or inside.count(peer) >= PEER_CONNECTIONS_MAX:
            return False
        now_s = time.monotonic()
        return self._peers.take(peer, now_s) and self._welcomes.take(now_s)

    async def _welcome(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        handshake_s = None if self._tls is None else HANDSHAKE_S
        try:
            await loop.connect_accepted_socket(
                lambda: _Bounded(self._config, self._state, {}),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=handshake_s,
            )
        except (OSError, ssl.SSLError) as error:
            connection.close()
            log.debug("page_handshake_failed", extra=facts(why=error))

    def _turn_away(self, connection: socket.socket) -> None:
        self.turned_away += 1
        with connection, contextlib.suppress(OSError):
            if self._tls is None:
                connection.send(self._refusal)
                connection.shutdown(socket.SHUT_WR)


async def _accepted(listener: socket.socket) -> tuple[socket.socket, str]:
    """The next connection and its address. ``loop.sock_accept`` may lose a connection when cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            connection, (peer, _) = listener.accept()
        except BlockingIOError:
            readable = asyncio.Event()
            loop.add_reader(listener, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(listener)
            continue
        connection.setblocking(False)
        return connection, str(peer)


class _Bounded(H11Protocol):
    """A connection that is aborted after ``IDLE_S`` seconds without a pending or completed response."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._answers = self._answers_before = 0
        self._check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._check = self.loop.call_later(IDLE_S, self._abort_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._check is not None:
            self._check.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._answers += 1
        super().on_response_complete()

    def _abort_if_idle(self) -> None:
        is_pending = self.cycle is not None and not self.cycle.response_complete
        if self.transport.is_closing() or (not is_pending and self._answers == self._answers_before):
            self.transport.abort()
            return
        self._answers_before = self._answers
        self._check = self.loop.call_later(IDLE_S, self._abort_if_idle)
