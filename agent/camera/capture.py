"""One run of the capture thread: open, grab until it fails, close, rest, open again. One slot, no queue."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from agent.camera.backend import CameraBackend
from agent.camera.bounded_call import Call
from agent.camera.recovery import SOUND_MS, FrameTiming, RecoveryStep
from agent.core.model import Frame
from agent.core.ports import Clock
from agent.errors import CameraError, Retry
from agent.health.conditions_camera import CAMERA_STALLED
from agent.log import facts

log = logging.getLogger(__name__)

_STOP_S = 1.8  # then the thread is abandoned; the port promises 2 s
_RESTS_MS = (250, 1_000, 2_000, 5_000)  # before it is opened again; the last one again and again


class Capture:
    """Only the capture thread writes; everybody reads. Made, it runs."""

    def __init__(self, grabber: CameraBackend, clock: Clock) -> None:
        self._grabber = grabber
        self._clock = clock
        self._lock = threading.Lock()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._ended = threading.Event()
        self._reopen = threading.Event()
        self._calls: list[Call] = []
        self._sight = FrameTiming(RecoveryStep.OPENING, clock.now_ms())
        self._failures = 0  # in a row
        self.newest: Frame | None = None
        self.error: CameraError | None = None
        self.opened = threading.Event()
        self.thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self.thread.start()

    @property
    def sight(self) -> FrameTiming:
        frame_ms = 0 if self.newest is None else self.newest.captured_ms
        return replace(self._sight, frame_ms=frame_ms, left=sum(call.is_hanging for call in self._calls))

    @property
    def is_hanging(self) -> bool:
        """After ``end``: something of it is still in the driver."""
        return self.thread.is_alive() or any(call.is_hanging for call in self._calls)

    def end(self) -> None:
        """Within 1.8 s; what hangs is left behind."""
        self._ended.set()
        self.opened.set()  # or it would be waited for
        until_s = time.monotonic() + _STOP_S
        closing = self._call("camera-close", self._close)
        self.thread.join(_STOP_S)
        closing.ended_within(max(0.0, until_s - time.monotonic()))
        if self.is_hanging:
            log.warning("capture_thread_abandoned")

    def reopen(self) -> None:
        """Close it, so that the blocked ``grab`` ends and the thread opens it again. Returns at once."""
        self._reopen.set()
        self._call("camera-close", self._close)

    def cure(self, number: int) -> None:
        """Call a remedy of the grabber in a thread that may be left behind. Returns at once."""
        name, remedy = self._grabber.remedies[number]

        def act() -> None:
            try:
                remedy()
            except CameraError as error:
                log.warning("camera_remedy_failed", extra=facts(remedy=name, code=error.code, why=error))
            except Exception:
                log.exception("bug_in_grabber")

        log.warning("camera_remedy", extra=facts(remedy=name))
        self._call(name, act)

    async def wait(self, seen: Frame | None, timeout_s: float) -> None:
        """Until there is something newer than ``seen``, or the time is over."""
        changed = asyncio.Event()
        waiter = (asyncio.get_running_loop(), changed)
        with self._lock:
            self._waiters.add(waiter)
        try:
            if self.newest is seen:  # asked again, now that a wake-up cannot be missed
                async with asyncio.timeout(timeout_s):
                    await changed.wait()
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    # --- in the capture thread ------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.is_set():
            error = self._judged(self._capture_until_error())
            self._begin(RecoveryStep.CLOSING)
            self._close()
            self.error = error or self.error
            self.opened.set()
            self._wake()
            if error is not None and error.retry is Retry.NEVER:
                self._begin(RecoveryStep.ENDED)
                return
            rest_ms = _RESTS_MS[max(0, min(self._failures, len(_RESTS_MS)) - 1)]
            self._begin(RecoveryStep.RESTING, rest_ms)
            self._ended.wait(rest_ms / 1e3)

    def _capture_until_error(self) -> CameraError | None:
        """Open and grab; a frame clears the error of before. None when it was ended."""
        try:
            self._begin(RecoveryStep.OPENING)
            self._reopen.clear()
            self._grabber.open()
            self._begin(RecoveryStep.GRABBING)
            self.opened.set()
            while not self._ended.is_set():
                frame = self._grabber.grab()
                if self._clock.now_ms() - self._sight.since_ms >= SOUND_MS:
                    self._failures = 0
                    self._sight = replace(self._sight, stalls=0)
                self.newest = frame
                self.error = None
                self._wake()
        except CameraError as error:
            return error
        except Exception as error:
            log.exception("bug_in_grabber")
            why = f"the camera adapter failed: {type(error).__name__}: {error}"
            return CameraError(why, retry=Retry.BACKOFF)
        return None

    def _judged(self, error: CameraError | None) -> CameraError | None:
        """Counted; and where it was closed by ``reopen``, that is the news, not what ``grab`` says then."""
        if error is None:
            return None
        self._failures += 1
        if self._reopen.is_set():
            error = CameraError("it is opened again", code=CAMERA_STALLED.code, retry=Retry.BACKOFF)
        if error.code == CAMERA_STALLED.code:
            self._sight = replace(self._sight, stalls=self._sight.stalls + 1)
        return error

    def _begin(self, doing: RecoveryStep, rest_ms: int = 0) -> None:
        now_ms = self._clock.now_ms()
        self._sight = replace(self._sight, doing=doing, since_ms=now_ms, rest_ms=rest_ms)

    def _wake(self) -> None:
        with self._lock:
            for loop, changed in self._waiters:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(changed.set)

    # --- calls into the driver ------------------------------------------------------------------

    def _close(self) -> None:
        try:
            self._grabber.close()
        except Exception:
            log.exception("bug_in_grabber")  # it is opened again, or left, all the same

    def _call(self, name: str, act: Callable[[], None]) -> Call:
        call = Call(name, act)
        self._calls = [*(left for left in self._calls if left.is_hanging), call]
        return call
