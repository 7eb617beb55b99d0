"""A pacer that makes frames due at a fixed rate on an injected clock, for sources without their own rate."""

from __future__ import annotations

import threading

from agent.core.ports import Clock
from agent.errors import CameraError, Retry

_CLOCK_CHECK_S = 0.05  # a test may move the clock, so no sleep is longer than this


class Pacer:
    """Counts frame periods. A late caller skips the missed periods, as with a real camera."""

    def __init__(self, clock: Clock, fps: float) -> None:
        self._clock = clock
        self._period_ms = 1000.0 / fps
        self._closed = threading.Event()
        self._start_ms = 0
        self._next = 0

    def open(self) -> None:
        """Start counting; frame 0 is due now."""
        self._closed.clear()
        self._start_ms = self._clock.now_ms()
        self._next = 0

    def wait(self) -> int:
        """Block until the next frame is due; returns the frame's number.

        Raises:
            CameraError: closed during the wait.
        """
        due_ms = self._start_ms + self._next * self._period_ms
        while (early_ms := due_ms - self._clock.now_ms()) > 0:
            if self._closed.wait(min(early_ms / 1000, _CLOCK_CHECK_S)):
                break
        if self._closed.is_set():
            raise CameraError("the camera was closed", retry=Retry.BACKOFF)
        late = int(-early_ms // self._period_ms)
        number = self._next + max(0, late)
        self._next = number + 1
        return number

    def close(self) -> None:
        """End a ``wait`` in another thread."""
        self._closed.set()
