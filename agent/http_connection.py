"""One HTTP connection: since when it waits for a request, and whether its client is too slow."""

import asyncio
import time

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

UNREAD_S = 10.0  # an answer that the client does not read


class HttpConnection(H11Protocol):
    """A connection that records since when it waits for a request.

    Attributes:
        peer: the client's address.
        waits_since_s: monotonic time of the last answer, or of the connection.
        unread_since_s: since when the client does not read an answer; None while it reads.
    """

    def __init__(self, config: uvicorn.Config, state: ServerState, header_s: float) -> None:
        super().__init__(config, state, {})
        self.peer = ""
        self.waits_since_s = time.monotonic()
        self.unread_since_s: float | None = None
        self._header_since_s: float | None = self.waits_since_s
        self._header_s = header_s

    @property
    def is_idle(self) -> bool:
        """Whether no request is open."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        self._header_since_s = self.waits_since_s = time.monotonic()  # without the TLS handshake

    def data_received(self, data: bytes) -> None:
        if self._header_since_s is None:
            self._header_since_s = time.monotonic()
        super().data_received(data)

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

    def is_overdue(self, now_s: float) -> bool:
        """Whether the client is too slow: with its headers, or in reading an answer.

        A client that sends requests and reads no answer would otherwise keep its connection without a limit.
        That includes a closed connection whose last bytes are below the limit of the send buffer.
        """
        if self.unread_since_s is None and self.transport.is_closing():
            self.unread_since_s = now_s
        if self.unread_since_s is not None and now_s - self.unread_since_s > UNREAD_S:
            return True
        return (
            self.is_idle
            and self._header_since_s is not None
            and now_s - self._header_since_s > self._header_s
        )
