"""The interface between a kind of camera and the capture thread, and a base for sources without a rate."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from agent.camera.fitting import Pixels
from agent.config import CameraConfig
from agent.core.model import FaceLight, Frame
from agent.core.ports import Clock
from agent.errors import CameraError, Retry
from agent.texts import Text

_CLOCK_CHECK_S = 0.05  # longest sleep: the injected clock can jump
Remedies = tuple[tuple[str, Callable[[], None]], ...]


class CameraBackend(Protocol):
    """A blocking camera. Only the capture thread calls it, except ``close`` and the remedies.

    A backend can be opened again after ``close``; its sequence numbers continue. After a ``CameraError`` the
    capture thread closes the backend and opens it after a pause, unless the advice is ``Retry.NEVER``.
    """

    @property
    def remedies(self) -> Remedies:
        """Measures that can restart a silent camera without opening it again: name and call, mildest first.

        Each call runs in its own thread while ``grab`` may be blocked. A call may hang; its thread is then
        abandoned. A call may raise ``CameraError``. Empty when only opening again helps.
        """

    def open(self) -> None:
        """Raises ``CameraError`` when there is no camera."""

    def grab(self) -> Frame:
        """Block until the next frame. Raises ``CameraError`` when no further frame can come."""

    def close(self) -> None:
        """Release the camera; a blocked ``grab`` ends soon after. Safe to call twice."""


@runtime_checkable
class SupportsExposure(Protocol):
    """A camera backend that can adapt its exposure to a face."""

    def adapt_exposure(self, light: FaceLight | None) -> None:
        """Called in the event loop: must not block or raise. None: the verification ended."""


class FrameTimer:
    """Waits for the next frame period. A late caller skips the missed periods, as a real camera does."""

    def __init__(self, clock: Clock, fps: float) -> None:
        self._clock = clock
        self._period_ms = 1000.0 / fps
        self._closed = threading.Event()

    def open(self) -> None:
        """Start counting; frame 0 is due now."""
        self._closed.clear()
        self._start_ms = self._clock.now_ms()
        self._next_number = 0

    def wait(self) -> int:
        """Block until the next frame is due; returns its number. Raises ``CameraError`` after ``close``."""
        due_ms = self._start_ms + self._next_number * self._period_ms
        while (early_ms := due_ms - self._clock.now_ms()) > 0:
            if self._closed.wait(min(early_ms / 1000, _CLOCK_CHECK_S)):
                break
        if self._closed.is_set():
            raise CameraError(Text("detail.camera_closed"), retry=Retry.BACKOFF)
        missed = int(-early_ms // self._period_ms)
        self._next_number += max(0, missed) + 1
        return self._next_number - 1

    def close(self) -> None:
        """End a ``wait`` in another thread."""
        self._closed.set()


class TimedBackend(ABC):
    """A ``CameraBackend`` that makes one picture per frame period of ``camera.fps``."""

    remedies: Remedies = ()

    def __init__(self, config: CameraConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._timer = FrameTimer(clock, config.fps)
        self._seq = 0

    def open(self) -> None:
        self._timer.open()

    def grab(self) -> Frame:
        number, captured_ms = self._timer.wait(), self._clock.now_ms()
        pixels = self._picture(number)
        self._seq += 1
        return Frame(pixels, self._seq, captured_ms, self._config.width_px, self._config.height_px)

    def close(self) -> None:
        self._timer.close()

    @abstractmethod
    def _picture(self, number: int, /) -> Pixels:
        """The picture of a frame period, in the configured size. Raises ``CameraError``: no more pictures."""
