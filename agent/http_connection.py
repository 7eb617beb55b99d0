"""One HTTP connection: since when it waits for a request, and whether its client is too slow."""

import asyncio
import fcntl
import re
import termios
import time
from array import array
from collections.abc import Callable
from enum import StrEnum, unique
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEADER_MAX_BYTES = 16 * 1024
_HEADER_MAX_LINES = 100
_HEADER_END = re.compile(rb"\n\r?\n")
# The line of the last chunk, after the line end of the chunk before. More lines than h11 accepts match.
_LAST_CHUNK = re.compile(rb"\r?\n?0+(?![0-9A-Fa-f])[^\n]*\n")
_BODY_ENDS = (b"\r\n", b"\n")
UNREAD_S = 10.0  # an answer that the client does not read
_SMALL_BYTES = 256  # less than a packet of any network
_SMALL_MAX = 1_000  # pieces of one body; each takes as much time as 100 kB in one piece


@unique
class Closed(StrEnum):
    """Why a connection was closed without an answer of the application."""

    GAVE_WAY = "gave_way"
    HANDSHAKE = "handshake"
    HEADER_SLOW = "header_slow"
    NO_HTTP = "no_http"
    UNREAD = "unread"


class _Parser(h11.Connection):
    """Refuses a request whose parsing takes much time for few bytes: its header, its pieces, any trailer.

    One call of ``data_received`` parses all that was received, and no other connection runs meanwhile. The
    limit of h11 itself does not apply to a header that was received as a whole.
    """

    _small = 0
    _is_between_chunks = _is_in_trailer = False

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            _check_header(self.trailing_data[0])
        elif self._is_between_chunks and self.their_state is h11.SEND_BODY:
            self._check_trailer(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._is_between_chunks = event.chunk_end
            self._small += len(event.data) < _SMALL_BYTES
            if self._small > _SMALL_MAX:
                raise h11.RemoteProtocolError("a body in too many small pieces")
        elif isinstance(event, h11.Request):
            self._small = 0
            self._is_in_trailer = False
            self._is_between_chunks = any(name == b"transfer-encoding" for name, _ in event.headers)
        return event

    def _check_trailer(self, received: bytes) -> None:
        """Raises ``RemoteProtocolError``: fields follow the last chunk. h11 would parse all at once."""
        last = None if self._is_in_trailer else _LAST_CHUNK.match(received)
        if last is not None:
            self._is_in_trailer = True
            received = received[last.end() :]
        if self._is_in_trailer and received not in (b"", b"\r") and not received.startswith(_BODY_ENDS):
            raise h11.RemoteProtocolError("a body with a trailer")


def _check_header(received: bytes) -> None:
    """Raises ``RemoteProtocolError``: the first header, also an unfinished one, is too large."""
    end = _HEADER_END.search(received, 0, HEADER_MAX_BYTES)
    size = len(received) if end is None else end.start()
    if size > HEADER_MAX_BYTES or received.count(b"\n", 0, size) > _HEADER_MAX_LINES:
        raise h11.RemoteProtocolError("the header is too large")


class HttpConnection(H11Protocol):
    """A connection that records since when it waits for a request.

    Attributes:
        peer: the client's address.
        waits_since_s: monotonic time of the last answer, or of the connection.
        unread_since_s: since when the client does not read an answer; None while it reads.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        header_s: float,
        note: Callable[[Closed, str], None],
    ) -> None:
        """``note`` receives the cause and the client's address when the connection is closed early."""
        super().__init__(config, state, {})
        self.conn = _Parser(h11.SERVER, HEADER_MAX_BYTES)
        self._note = note
        self.peer = ""
        self.waits_since_s = time.monotonic()
        self.unread_since_s: float | None = None
        self._header_since_s: float | None = self.waits_since_s
        self._header_s = header_s

    @property
    def is_idle(self) -> bool:
        """Whether no request is open."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_waiting(self) -> bool:
        """Whether the connection may give way: no request is open, or its client reads no answer."""
        return not self.transport.is_closing() and (self.is_idle or self.unread_since_s is not None)

    def give_way(self) -> None:
        """Close the connection at once, and count it no longer."""
        self._note(Closed.GAVE_WAY, self.peer)
        self.transport.abort()
        self.connections.discard(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        self._header_since_s = self.waits_since_s = time.monotonic()  # without the TLS handshake

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_keepalive_if_required()  # its timer would keep the buffers of a reset connection
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._header_since_s is None:
            self._header_since_s = time.monotonic()
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        self._note(Closed.NO_HTTP, self.peer)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
            if not self.is_idle:  # the application reads this body; its answer would be a second one
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        else:  # this request has an answer already, or a part of it
            self.transport.close()

    def pause_writing(self) -> None:
        self.unread_since_s = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.unread_since_s = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        self.waits_since_s = time.monotonic()
        self._header_since_s = None  # until the next byte; without one uvicorn closes the connection in time
        super().on_response_complete()

    def abort_if_overdue(self, now_s: float) -> None:
        """Close the connection of a client that is too slow: with its headers, or in reading an answer.

        A client that sends requests and reads no answer would otherwise keep its connection without a limit.
        That includes a closed connection whose last bytes are below the limit of the send buffer. A closed
        TLS connection whose client has received all bytes, and sends no close_notify, is not counted.
        """
        if self.unread_since_s is None and self.transport.is_closing():
            self.unread_since_s = now_s
        if self.unread_since_s is not None and now_s - self.unread_since_s > UNREAD_S:
            if _unreceived_bytes(self.transport):
                self._note(Closed.UNREAD, self.peer)
        elif (
            self.is_idle
            and self._header_since_s is not None
            and now_s - self._header_since_s > self._header_s
        ):
            self._note(Closed.HEADER_SLOW, self.peer)
        else:
            return
        self.transport.abort()


def _unreceived_bytes(transport: asyncio.Transport) -> int:
    """Bytes in the kernel that the client has not acknowledged. asyncio cannot report its buffer below TLS.

    That buffer is empty when the kernel has none.
    """
    unsent, connection = array("i", [0]), transport.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:  # otherwise closed
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, unsent)
    return unsent[0]
