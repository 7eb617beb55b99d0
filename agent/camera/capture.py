"""One run of the capture thread: open, grab until an error, close, pause, open again. Stores one frame."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np

from agent.camera.backend import CameraBackend
from agent.camera.orientation import AS_CAPTURED, Orientation
from agent.camera.recovery import STABLE_MS, CapturePhase, CaptureStatus
from agent.core.model import Frame
from agent.core.ports import Clock
from agent.core.strobe import WINDOW, is_unlit
from agent.errors import CameraError, Retry, reason_of
from agent.health.conditions_camera import CAMERA_STALLED
from agent.log import facts
from agent.tasks import call_soon, in_thread
from agent.texts import Text

log = logging.getLogger(__name__)

_STOP_S = 1.8  # then the thread is abandoned; the port's limit is 2 s
_PAUSES_MS = (250, 1_000, 2_000, 5_000)  # before opening again; the last value repeats
_STRIDE = 8  # a sample of the pixels is enough for the brightness, about 10 µs at 1280×720


class Capture:
    """Starts the capture thread in the constructor. Only that thread writes; other threads only read."""

    def __init__(self, backend: CameraBackend, clock: Clock, orientation: Orientation = AS_CAPTURED) -> None:
        self._backend = backend
        self._clock = clock
        self._grab = _make_grab(backend, orientation)
        self._lock = threading.Lock()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._ended = threading.Event()
        self._reopen_requested = threading.Event()
        self._calls: list[Future[None]] = []
        self._status = CaptureStatus(CapturePhase.OPENING, clock.now_ms())
        self._failures = 0  # in a row
        self.newest: Frame | None = None
        self.error: CameraError | None = None
        self.opened = threading.Event()
        self.thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self.thread.start()

    @property
    def status(self) -> CaptureStatus:
        frame_ms = 0 if self.newest is None else self.newest.captured_ms
        return replace(self._status, frame_ms=frame_ms, abandoned=len(self._hanging_calls()))

    @property
    def is_hanging(self) -> bool:
        """After ``end``: a thread of this run is still in the driver."""
        return self.thread.is_alive() or bool(self._hanging_calls())

    def end(self) -> None:
        """End the run within 1.8 s; a hanging thread is abandoned."""
        self._ended.set()
        self.opened.set()  # ends the wait of start()
        until_s = time.monotonic() + _STOP_S
        closing = self._start_call("camera-close", self._close)
        self.thread.join(_STOP_S)
        wait([closing], max(0.0, until_s - time.monotonic()))
        if self.is_hanging:
            log.warning("capture_thread_abandoned")

    def reopen(self) -> None:
        """Close the camera: the blocked ``grab`` ends and the thread opens again. Returns at once."""
        self._reopen_requested.set()
        self._start_call("camera-close", self._close)

    def apply_remedy(self, number: int) -> None:
        """Call a remedy of the backend in a thread that may be abandoned. Returns at once."""
        name, remedy = self._backend.remedies[number]
        log.warning("camera_remedy", extra=facts(remedy=name))

        def apply() -> None:
            try:
                remedy()
            except CameraError as error:
                log.warning("camera_remedy_failed", extra=facts(remedy=name, code=error.code, why=error))
            except Exception:
                log.exception("bug_in_camera_backend")

        self._start_call(name, apply)

    async def wait(self, seen: Frame | None, timeout_s: float) -> None:
        """Wait until ``newest`` is not ``seen``, an error is set, or ``timeout_s`` is over."""
        changed = asyncio.Event()
        waiter = (asyncio.get_running_loop(), changed)
        with self._lock:
            self._waiters.add(waiter)
        try:
            with suppress(TimeoutError):
                if self.newest is seen:  # checked after registering, so that no wake-up is missed
                    async with asyncio.timeout(timeout_s):
                        await changed.wait()
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    # --- in the capture thread ------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.is_set():
            error = self._capture_until_error()
            if error is not None:
                error = self._failure_to_report(error)
            self._enter_phase(CapturePhase.CLOSING)
            self._close()
            self.error = error or self.error
            self.opened.set()
            self._wake_waiters()
            if error is not None and error.retry is Retry.NEVER:
                self._enter_phase(CapturePhase.ENDED)
                return
            pause_ms = _PAUSES_MS[max(0, min(self._failures, len(_PAUSES_MS)) - 1)]
            self._enter_phase(CapturePhase.PAUSED, pause_ms)
            self._ended.wait(pause_ms / 1e3)

    def _capture_until_error(self) -> CameraError | None:
        """Open and grab; a frame clears an earlier error. None when ``end`` ended the run."""
        try:
            self._enter_phase(CapturePhase.OPENING)
            self._reopen_requested.clear()
            self._backend.open()
            self._enter_phase(CapturePhase.GRABBING)
            self.opened.set()
            while not self._ended.is_set():
                frame = self._grab()
                if self._clock.now_ms() - self._status.since_ms >= STABLE_MS:
                    self._failures = 0
                    self._status = replace(self._status, stalls=0)
                self.newest, self.error = frame, None
                self._wake_waiters()
        except CameraError as error:
            return error
        except Exception as error:
            log.exception("bug_in_camera_backend")
            why = Text("detail.camera_adapter_failed", kind=type(error).__name__, reason=reason_of(error))
            return CameraError(why, retry=Retry.BACKOFF)
        return None

    def _failure_to_report(self, error: CameraError) -> CameraError:
        """The error to report. After ``reopen`` the error of ``grab`` is a consequence, and is replaced."""
        self._failures += 1
        if self._reopen_requested.is_set():
            error = CameraError(Text("detail.camera_reopened"), code=CAMERA_STALLED.code, retry=Retry.BACKOFF)
        if error.code == CAMERA_STALLED.code:
            self._status = replace(self._status, stalls=self._status.stalls + 1)
        return error

    def _enter_phase(self, phase: CapturePhase, pause_ms: int = 0) -> None:
        now_ms = self._clock.now_ms()
        self._status = replace(self._status, phase=phase, since_ms=now_ms, pause_ms=pause_ms)

    def _wake_waiters(self) -> None:
        with self._lock:
            for loop, changed in self._waiters:
                call_soon(loop, changed.set)

    def _close(self) -> None:
        try:
            self._backend.close()
        except Exception:
            log.exception("bug_in_camera_backend")  # no effect on opening again or ending

    def _hanging_calls(self) -> list[Future[None]]:
        return [call for call in self._calls if not call.done()]

    def _start_call(self, name: str, function: Callable[[], None]) -> Future[None]:
        call = in_thread(name, function)
        self._calls = [*self._hanging_calls(), call]
        return call


def _make_grab(backend: CameraBackend, orientation: Orientation) -> Callable[[], Frame]:
    """Return a function that grabs the next lit frame and turns it upright.

    Leaves out the dark frames of a strobed camera (``core.strobe``); stores brightnesses and no pixels. A
    frame without (H, W, 3) pixels passes.
    """
    lumas: deque[float] = deque(maxlen=WINDOW)

    def next_frame() -> Frame:
        while True:
            frame = backend.grab()
            pixels = frame.pixels
            if isinstance(pixels, np.ndarray) and pixels.ndim == 3:
                lumas.append(float(cv2.mean(pixels[::_STRIDE, ::_STRIDE, 1])[0]))  # green
                if is_unlit(tuple(lumas)):
                    continue
            return orientation.turn_upright(frame)

    return next_frame
