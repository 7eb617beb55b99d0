"""Frame loop: a brightness check of every frame, and face analysis during an open verification.

The next frame is fetched when the analysis of the last frame is done. That frame is the newest one: frames
never queue. A frame that repeats the last new picture is no new frame: a verification does not get it, and it
is not counted. A failed camera is retried until it raises ``CameraHung``, because then only a new
process helps. The core decides the effect of a failure on the verification.
"""

import asyncio
import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import Executor

from agent.core.model import Analysis, CameraHealth, Frame
from agent.core.policy import face_light
from agent.core.reasons import FrameReason, Reason
from agent.core.verification_types import CameraFailed, FrameAnalyzed, InputFailed, InternalFailure
from agent.errors import AgentError, CameraError, CameraHung
from agent.health import conditions_camera as camera
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions import condition_of
from agent.health.counters import Counters
from agent.log import facts
from agent.terminal.parts import Ports
from agent.terminal.verification_runner import Verification, reason_of

log = logging.getLogger(__name__)

_MIN_SHARE_OF_PERIOD = 0.8  # of the period: a camera is not exact, and every second frame must not be late
CAMERA_RETRY_S = 0.5
RESTART_PAUSES_MS = (5_000, 30_000, 300_000)  # between the restarts of a frozen camera
RESTART_LIMIT_MS = 6_000  # a restart takes up to 4 s


class WatchdogSignal:
    """For the watchdog: present only while fresh frames arrive or a recovery step with a limit is active.

    A frame that repeats the previous frame is not fresh. After the time limit of a recovery step the step
    hangs, and the code that should end the step hangs, too; then systemd must restart the process.
    """

    def __init__(self) -> None:
        self._has_fresh_frame = False  # since the last poll
        self._recovery_until_ms = 0

    def record_fresh_frame(self) -> None:
        """A frame arrived that does not repeat the previous one."""
        self._has_fresh_frame, self._recovery_until_ms = True, 0

    def record_recovery(self, until_ms: int) -> None:
        """Record an active recovery step and its end; 0: no recovery step."""
        self._recovery_until_ms = until_ms

    def poll(self, now_ms: int) -> bool:
        """Return the signal and reset the record of fresh frames. Only the watchdog may call this."""
        has_fresh_frame, self._has_fresh_frame = self._has_fresh_frame, False
        return has_fresh_frame or now_ms < self._recovery_until_ms


class FrameLoop:
    """Posts analyzed frames to the verification that ``current`` returns; None means idle."""

    def __init__(
        self,
        ports: Ports,
        worker: Executor,
        counters: Counters,
        conditions: ConditionTracker,
        watchdog_signal: WatchdogSignal,
        current: Callable[[], Verification | None],
    ) -> None:
        self._ports, self._worker, self._current = ports, worker, current
        self._check_frame = ports.check_frame
        self._counters, self._conditions, self._watchdog_signal = counters, conditions, watchdog_signal
        self._analyzed_for: Verification | None = None  # the newest one that has got a frame
        self.period_ms = 0.0  # frames of a verification that come sooner are not analyzed
        self._analyzed_ms: float = -math.inf
        self._has_skipped = False  # a picture that came too soon: its repetition is not analyzed yet
        self._exposed_for: Verification | None = None  # the exposure is set for the payer of this one
        self._restarts, self._restart_at_ms = 0, 0

    async def run(self) -> None:
        """Run without end. Raises ``CameraHung``."""
        seq = 0
        while True:
            try:
                frame = await self._ports.camera.next_frame(seq)
            except CameraError as error:
                self._camera_failed(error)
                if isinstance(error, CameraHung):
                    raise
                await asyncio.sleep(CAMERA_RETRY_S)
                continue
            seq = frame.seq
            health = self._check_frame(frame)
            self._update_conditions(health)
            verification = self._current()
            if self._analyzed_for is not verification:
                self._analyzed_for = None  # holds the enrolled photo of an ended verification
            if self._exposed_for not in (None, verification):  # the next payer starts with auto exposure
                self._exposed_for = None
                self._ports.adapt_exposure(None)
            if verification is None:
                self._counters.frames[FrameReason.IDLE] += 1
            else:
                await self._analyze_frame(verification, frame, health)
            await self._restart_if_frozen(health)

    async def _restart_if_frozen(self, health: CameraHealth) -> None:
        """Restart a camera that repeats one picture, with growing pauses between the restarts."""
        now_ms = self._ports.clock.now_ms()
        if not health.frozen:
            self._restarts, self._restart_at_ms = 0, now_ms
            self._watchdog_signal.record_fresh_frame()
            return
        self._watchdog_signal.record_recovery(now_ms + RESTART_LIMIT_MS)
        if now_ms >= self._restart_at_ms:
            pause_ms = RESTART_PAUSES_MS[min(self._restarts, len(RESTART_PAUSES_MS) - 1)]
            self._restart_at_ms = now_ms + pause_ms
            self._restarts += 1
            await self._restart_camera()

    async def _restart_camera(self) -> None:
        """Restart the camera in a thread, because a driver may be slow. A failed restart is repeated later.

        The loop may end during the restart, and then another task stops the camera. So the thread stops the
        camera itself when the start returns after the end of the loop.
        """
        ended = threading.Event()

        def start() -> None:
            try:
                self._ports.camera.start()
            finally:
                if ended.is_set():
                    self._ports.camera.stop()

        try:
            await asyncio.to_thread(start)
        except asyncio.CancelledError:
            ended.set()
            raise
        except CameraError as error:
            log.warning("camera_restart_failed", extra=facts(code=error.code, why=error))
        else:
            log.info("camera_restarted")

    def _update_conditions(self, health: CameraHealth) -> None:
        self._conditions.update(camera.CAMERA_FROZEN, health.frozen)
        self._conditions.update(camera.CAMERA_COVERED, health.covered)
        self._conditions.update(camera.CAMERA_OVEREXPOSED, health.overexposed)
        self._conditions.clear(*camera.NO_PICTURE)

    async def _analyze_frame(self, verification: Verification, frame: Frame, health: CameraHealth) -> None:
        if health.frozen:  # a repeated picture shows no live face
            self._counters.frames[FrameReason.NO_FACE] += 1
            verification.post(CameraFailed(self._ports.clock.now_ms(), Reason.CAMERA_FROZEN))
            return
        if health.repeated_ms:  # a coded stream of a still scene: a payer who arrives changes the picture
            self._counters.frames[FrameReason.NO_FACE] += 1
            # A stream that hangs looks the same, so the picture is as old as its last change: it does not
            # show that the payer of an API call is still alone.
            changed_ms = frame.captured_ms - health.repeated_ms
            no_face = Analysis(frame.seq, changed_ms, FrameReason.NO_FACE)
            verification.post(FrameAnalyzed(self._ports.clock.now_ms(), no_face))
            return
        if verification is self._analyzed_for:
            if health.is_repeated and not self._has_skipped:
                verification.frame_log.repeated += 1
                return  # two frames are evidence only if they are two pictures
            if frame.captured_ms - self._analyzed_ms < _MIN_SHARE_OF_PERIOD * self.period_ms:
                self._has_skipped = True
                return
        self._analyzed_for, self._analyzed_ms, self._has_skipped = verification, frame.captured_ms, False
        loop = asyncio.get_running_loop()
        try:
            analysis = await loop.run_in_executor(self._worker, self._ports.analyzer.analyze, frame)
        except AgentError as error:
            log.error("analysis_failed", extra=facts(code=error.code, why=error))
            self._counters.frames[FrameReason.NO_FACE] += 1
            verification.post(InputFailed(self._ports.clock.now_ms(), reason_of(error)))
            return
        except Exception:
            log.exception("bug_in_analysis")
            self._counters.frames[FrameReason.NO_FACE] += 1
            verification.post(InternalFailure(self._ports.clock.now_ms()))
            return
        self._counters.frames[analysis.reason] += 1
        light = face_light(analysis)
        if light is not None:
            self._exposed_for = verification
            self._ports.adapt_exposure(light)
        verification.post(FrameAnalyzed(self._ports.clock.now_ms(), analysis))

    def _camera_failed(self, error: CameraError) -> None:
        """Raise one camera condition, and log a new condition once: the camera is retried twice a second."""
        condition_of_code = condition_of(error.code)
        condition = condition_of_code if condition_of_code in camera.NO_PICTURE else camera.CAMERA_UNAVAILABLE
        if condition not in self._conditions.active:
            log.warning("camera_failed", extra=facts(code=condition.code, why=error, fix=str(error.fix)))
        self._conditions.raise_only(condition, of=camera.ROWS)
        self._watchdog_signal.record_recovery(error.bounded_until_ms)
        verification = self._current()
        if verification is not None:
            verification.post(CameraFailed(self._ports.clock.now_ms(), reason_of(error)))
