"""One HTTP connection of the service: since when the connection waits, and which connection goes first."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

KEEPALIVE_S = 75  # longer than any client keeps an idle connection, so the client closes first
HEADER_S = 5.0
UNREAD_S = 10.0  # an answer that the client does not read


class HttpConnection(H11Protocol):
    """A connection that records since when it waits for a request."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.peer = ""
        self.waits_since_s = time.monotonic()  # of the last answer, or of the connection
        self._partial_since_s: float | None = None  # of the first byte after that
        self._has_answered = False
        self._unread_since_s: float | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is open."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_unread(self) -> bool:
        """Whether the client does not read an answer, so that no further one can be sent."""
        return self._unread_since_s is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""

    def data_received(self, data: bytes) -> None:
        if self._partial_since_s is None:
            self._partial_since_s = time.monotonic()
        super().data_received(data)

    def pause_writing(self) -> None:
        self._unread_since_s = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since_s = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        self.waits_since_s = time.monotonic()
        self._partial_since_s = None
        self._has_answered = True
        super().on_response_complete()

    def is_overdue(self, now_s: float) -> bool:
        """Whether the client is too slow: with its next request, its headers, or in reading an answer.

        A client that sends requests and reads no answer would otherwise keep its connection without a limit.
        """
        if self._unread_since_s is not None and now_s - self._unread_since_s > UNREAD_S:
            return True
        if not self.is_idle:
            return False
        if self._partial_since_s is not None:
            return now_s - self._partial_since_s > HEADER_S
        return now_s - self.waits_since_s > (KEEPALIVE_S if self._has_answered else HEADER_S)


def evict(candidates: list[HttpConnection]) -> bool:
    """Close the connection that has waited longest for a request. False when every one has a request.

    A connection that waits for its client to read counts as idle.
    """
    open_now = [each for each in candidates if not each.transport.is_closing()]
    idle = [each for each in open_now if each.is_idle or each.is_unread]
    if not idle:
        return False
    oldest = min(idle, key=lambda each: each.waits_since_s)
    oldest.transport.abort()
    oldest.connections.discard(oldest)
    return True
