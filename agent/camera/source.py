"""The source of the newest frame: a capture thread fills one slot, callers read the slot. No frame is queued.

Each wait is bounded. A driver that hangs for ever costs abandoned daemon threads and does not block the
agent. The caller of ``next_frame`` drives the recovery (recovery.py); ``CameraHung`` reports an unrecoverable
camera.
"""

import logging

from agent.camera import recovery
from agent.camera.backend import CameraBackend, SupportsExposure
from agent.camera.capture import Capture
from agent.camera.errors import camera_error
from agent.camera.orientation import AS_CAPTURED, Orientation
from agent.core.model import FaceLight, Frame
from agent.core.ports import Clock
from agent.errors import CameraError, CameraHung, Retry
from agent.health.conditions_camera import CAMERA_STALLED
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

_START_S = 2.0  # how long start() waits for the camera to open
_STALL_CHECK_S = 0.05  # interval of reading the injected clock while no frame comes


class NewestFrameSource:
    """Implements ``core.ports.Camera`` on a blocking backend."""

    def __init__(
        self, backend: CameraBackend, clock: Clock, *, stall_ms: int, orientation: Orientation = AS_CAPTURED
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._orientation = orientation
        self._stall_ms = stall_ms
        self._is_started = False  # between start and stop, also while the driver of an earlier run hangs
        self._capture: Capture | None = None
        self._abandoned: Capture | None = None
        self._recovery = recovery.RecoveryState()
        self._created_ms = clock.now_ms()
        self._started_ms = 0
        self._first_returned_ms, self._last_returned_ms = 0, 0  # returned frames, of all runs

    def start(self) -> None:
        """Start or restart the capture thread; returns when the camera is open, or after 2 s.

        Raises:
            CameraError: the camera cannot be opened, or an earlier run still hangs in the driver. Unless the
                advice is ``Retry.NEVER``, the thread opens the camera again until ``stop``.
        """
        self.stop()
        self._is_started = True
        capture = self._start_capture()
        if capture is None:
            raise camera_error(CAMERA_STALLED, Text("detail.camera_driver_hangs"))
        capture.opened.wait(_START_S)
        if capture.error is not None:
            raise capture.error.with_traceback(None)

    async def next_frame(self, after_seq: int) -> Frame:
        """The newest frame with ``seq > after_seq``; waits until there is a frame that is not stale.

        Raises:
            CameraError: not started, the backend failed, or no newer frame for ``stall_ms``. Its
                ``bounded_until_ms`` is the time by which the running recovery step has ended.
            CameraHung: the camera is unrecoverable in this process.
        """
        while True:
            capture = self._capture or self._start_capture()
            if capture is None and not self._is_started:
                raise CameraError(Text("detail.camera_not_started"), retry=Retry.BACKOFF)
            if capture is None:  # the abandoned run hangs in the driver
                raise self._unrecoverable(Text("detail.camera_driver_hangs"), None, self._clock.now_ms())
            newest, now_ms = capture.newest, self._clock.now_ms()
            if newest is not None and newest.seq > after_seq and now_ms - newest.captured_ms < self._stall_ms:
                self._first_returned_ms = self._first_returned_ms or newest.captured_ms
                self._last_returned_ms = newest.captured_ms
                self._recovery = recovery.RecoveryState()
                return newest
            self._take_recovery_step(capture, now_ms)
            await capture.wait(newest, _STALL_CHECK_S)

    def adapt_exposure(self, light: FaceLight | None) -> None:
        """For a camera that can adapt its exposure; no effect for other cameras."""
        if isinstance(self._backend, SupportsExposure):
            self._backend.adapt_exposure(light)

    def stop(self) -> None:
        """Stop and release within 2 s. Safe to call twice."""
        self._is_started = False
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.end()
            self._abandoned = capture

    def _start_capture(self) -> Capture | None:
        """Start a new run; None while an earlier run hangs in the driver, and when not started."""
        if not self._is_started or (self._abandoned is not None and self._abandoned.is_hanging):
            return None
        self._started_ms = self._clock.now_ms()
        self._recovery = recovery.RecoveryState()
        self._capture = Capture(self._backend, self._clock, self._orientation)
        return self._capture

    # --- recovery -------------------------------------------------------------------------------

    def _take_recovery_step(self, capture: Capture, now_ms: int) -> None:
        """Take the next step when due. Raises the present error of the camera."""
        status, rules = capture.status, recovery.RecoveryRules(self._stall_ms, len(self._backend.remedies))
        error, silent_ms = capture.error, now_ms - max(status.frame_ms, self._started_ms)
        if error is None and silent_ms >= self._stall_ms:
            error = camera_error(CAMERA_STALLED, Text("detail.no_new_frame", silent_ms=silent_ms))
        self._recovery, step = recovery.next_step(self._recovery, status, rules, now_ms)
        if step is not None and step < rules.remedies:
            capture.apply_remedy(step)
        elif step is not None:
            log.warning("camera_reopened", extra=facts(stalls=status.stalls + 1))
            capture.reopen()
        if self._recovery.unrecoverable:
            raise self._unrecoverable(self._recovery.unrecoverable, error, now_ms)
        if error is None:
            return
        if error.retry is Retry.NEVER:
            raise self._unrecoverable(Text("detail.camera_not_tried"), error, now_ms)
        error.bounded_until_ms = recovery.bounded_until_ms(self._recovery, status, rules)
        raise error.with_traceback(None)  # the traceback of one object grows with each raise

    def _unrecoverable(self, why: Text, error: CameraError | None, now_ms: int) -> CameraError:
        """The camera's error until a new process is due, then ``CameraHung``."""
        # the end of a recording is not urgent
        is_end_of_recording = error is not None and error.retry is Retry.NEVER
        frames_ms = 0 if is_end_of_recording else self._last_returned_ms - self._first_returned_ms
        if now_ms >= recovery.exit_due_ms(self._created_ms, frames_ms, now_ms):
            last = Text("detail.camera_no_picture") if error is None else error.detail
            return CameraHung(Text("detail.camera_unrecoverable", why=why, last=last))
        reported = error or camera_error(CAMERA_STALLED, why)
        reported.bounded_until_ms = now_ms + recovery.POLL_MS  # the caller checks again at this interval
        return reported.with_traceback(None)
