"""Frames at a fixed rate on an injected clock, for sources without a rate of their own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from agent.camera.backend import Remedies
from agent.camera.fitting import Pixels
from agent.config import CameraConfig
from agent.core.model import Frame
from agent.core.ports import Clock
from agent.errors import CameraError, Retry

_CLOCK_CHECK_S = 0.05  # a test may move the clock, so no sleep is longer than this


class Pacer:
    """Counts frame periods. A late caller skips the missed periods, as with a real camera."""

    def __init__(self, clock: Clock, fps: float) -> None:
        self._clock = clock
        self._period_ms = 1000.0 / fps
        self._closed = threading.Event()

    def open(self) -> None:
        """Start counting; frame 0 is due now."""
        self._closed.clear()
        self._start_ms = self._clock.now_ms()
        self._next = 0

    def wait(self) -> int:
        """Block until the next frame is due; returns its number. Raises ``CameraError`` after ``close``."""
        due_ms = self._start_ms + self._next * self._period_ms
        while (early_ms := due_ms - self._clock.now_ms()) > 0:
            if self._closed.wait(min(early_ms / 1000, _CLOCK_CHECK_S)):
                break
        if self._closed.is_set():
            raise CameraError("the camera was closed", retry=Retry.BACKOFF)
        late = int(-early_ms // self._period_ms)
        self._next += max(0, late) + 1
        return self._next - 1

    def close(self) -> None:
        """End a ``wait`` in another thread."""
        self._closed.set()


class PacedBackend(ABC):
    """A ``CameraBackend`` that makes one picture per frame period of ``camera.fps``."""

    remedies: Remedies = ()

    def __init__(self, config: CameraConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._pacer = Pacer(clock, config.fps)
        self._seq = 0

    def open(self) -> None:
        self._pacer.open()

    def grab(self) -> Frame:
        number, captured_ms = self._pacer.wait(), self._clock.now_ms()
        pixels = self._picture(number)
        self._seq += 1
        return Frame(pixels, self._seq, captured_ms, self._config.width_px, self._config.height_px)

    def close(self) -> None:
        self._pacer.close()

    @abstractmethod
    def _picture(self, number: int, /) -> Pixels:
        """The picture of a frame period, in the configured size. Raises ``CameraError``: no more pictures."""
