"""The newest frame: a capture thread fills one slot, whoever asks gets what is in it. Nothing is ever queued.

Every wait is bounded. A driver that hangs for ever costs abandoned daemon threads, never the terminal:
whoever waits for a frame drives the recovery (recovery.py), and is told when only a new process can mend it.
"""

from __future__ import annotations

import logging

from agent.camera.backend import CameraBackend, Exposing
from agent.camera.capture import Capture
from agent.camera.errors import camera_error
from agent.camera.recovery import (
    POLL_MS,
    RecoveryRules,
    RecoveryState,
    bounded_until_ms,
    exit_due_ms,
    next_step,
)
from agent.core.model import FaceLight, Frame
from agent.core.ports import Clock
from agent.errors import CameraError, CameraHung, Retry
from agent.health.conditions_camera import CAMERA_STALLED
from agent.log import facts

log = logging.getLogger(__name__)

_START_S = 2.0  # how long start() waits to hear whether the camera opened
_STALL_CHECK_S = 0.05  # the injected clock is asked this often while no frame comes


class NewestFrameSource:
    """Implements ``core.ports.Camera`` on a blocking grabber."""

    def __init__(self, grabber: CameraBackend, clock: Clock, *, stall_ms: int) -> None:
        self._grabber = grabber
        self._clock = clock
        self._stall_ms = stall_ms
        self._wanted = False  # between start and stop, also while the driver of an earlier run hangs
        self._capture: Capture | None = None
        self._abandoned: Capture | None = None
        self._ladder = RecoveryState()
        self._made_ms = clock.now_ms()
        self._started_ms = 0
        self._first_ms, self._last_ms = 0, 0  # frames that were handed out, of all runs

    def start(self) -> None:
        """Start the capture thread, anew if it runs; returns once the camera is open, or after 2 s.

        Raises:
            CameraError: it could not be opened (unless the advice is ``Retry.NEVER`` it is tried again until
                ``stop``), or an earlier run still hangs in the driver.
        """
        self.stop()
        self._wanted = True
        capture = self._begin()
        if capture is None:
            raise camera_error(CAMERA_STALLED, "the camera driver hangs")
        capture.opened.wait(_START_S)
        if capture.error is not None:
            raise capture.error.with_traceback(None)

    async def next_frame(self, after_seq: int) -> Frame:
        """The newest frame with ``seq > after_seq``, as soon as there is one that is not stale.

        Raises:
            CameraError: not started, the grabber gave up, or no newer frame for ``stall_ms``. Its
                ``bounded_until_ms`` tells by when what is done about it has come to an end.
            CameraHung: nothing can be done about it in this process.
        """
        while True:
            capture = self._capture or self._begin()
            if capture is None:
                raise self._without_capture()
            newest, now_ms = capture.newest, self._clock.now_ms()
            if newest is not None and newest.seq > after_seq and now_ms - newest.captured_ms < self._stall_ms:
                self._first_ms, self._last_ms = self._first_ms or newest.captured_ms, newest.captured_ms
                self._ladder = RecoveryState()
                return newest
            self._recover(capture, now_ms)
            await capture.wait(newest, _STALL_CHECK_S)

    def expose(self, light: FaceLight | None) -> None:
        """``Ports.expose``: handed to a camera that can act on it, forgotten otherwise."""
        if isinstance(self._grabber, Exposing):
            self._grabber.expose(light)

    def stop(self) -> None:
        """Stop and release within 2 s. Safe to call twice."""
        self._wanted = False
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.end()
            self._abandoned = capture

    def _begin(self) -> Capture | None:
        """A new run; None while an earlier one hangs in the driver, or nobody wants one."""
        if not self._wanted or (self._abandoned is not None and self._abandoned.is_hanging):
            return None
        self._started_ms = self._clock.now_ms()
        self._ladder = RecoveryState()
        self._capture = Capture(self._grabber, self._clock)
        return self._capture

    # --- recovery -------------------------------------------------------------------------------

    def _recover(self, capture: Capture, now_ms: int) -> None:
        """Take the next step if it is time for one. Raises what there is to say about the camera."""
        sight, rules = capture.sight, RecoveryRules(self._stall_ms, len(self._grabber.remedies))
        error = capture.error or self._stalled(sight.frame_ms, now_ms)
        self._ladder, rung = next_step(self._ladder, sight, rules, now_ms)
        if rung is not None and rung < rules.remedies:
            capture.cure(rung)
        elif rung is not None:
            log.warning("camera_reopened", extra=facts(stalls=sight.stalls + 1))
            capture.reopen()
        if self._ladder.hopeless:
            raise self._given_up(self._ladder.hopeless, error, now_ms)
        if error is None:
            return
        if error.retry is Retry.NEVER:
            raise self._given_up("it is not tried again", error, now_ms)
        error.bounded_until_ms = bounded_until_ms(self._ladder, sight, rules)
        raise error.with_traceback(None)  # raised again and again, it would grow

    def _stalled(self, frame_ms: int, now_ms: int) -> CameraError | None:
        silent_ms = now_ms - max(frame_ms, self._started_ms)
        if silent_ms < self._stall_ms:
            return None
        return camera_error(CAMERA_STALLED, f"no new frame for {silent_ms} ms")

    def _without_capture(self) -> CameraError:
        if self._wanted:  # and not begun: what was left behind is still in there
            return self._given_up("its driver hangs", None, self._clock.now_ms())
        return CameraError("the camera is not started", retry=Retry.BACKOFF)

    def _given_up(self, why: str, error: CameraError | None, now_ms: int) -> CameraError:
        """Until a new process is due, the trouble itself; then that it is due."""
        final = error is not None and error.retry is Retry.NEVER  # a recording is over: no reason to hurry
        due_ms = exit_due_ms(self._made_ms, 0 if final else self._last_ms - self._first_ms, now_ms)
        if now_ms >= due_ms:
            return CameraHung(f"the camera cannot be mended here: {why}; {error or 'no picture'}")
        told = error or camera_error(CAMERA_STALLED, why)
        told.bounded_until_ms = now_ms + POLL_MS  # a wait that is looked at again and again, for a known time
        return told.with_traceback(None)
