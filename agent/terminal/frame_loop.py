"""The frame loop: every frame gets one cheap look; only those of an open verification go to the eye.

The next frame is fetched when the eye is done with the last one, and it is the newest there is: frames never
queue. A camera that fails is asked again until it says that only a new process can mend it; what a failure
means for the verification the core decides.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor

from agent.core.model import CameraHealth, Frame
from agent.core.policy import light_on
from agent.core.reasons import FrameReason, Reason
from agent.core.steps import CameraFailed, FrameAnalyzed, InputFailed, InternalFailure
from agent.errors import AgentError, CameraError, CameraHung
from agent.health import conditions_camera
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions import condition_of
from agent.health.conditions_camera import CAMERA_COVERED, CAMERA_FROZEN, CAMERA_UNAVAILABLE, NO_PICTURE
from agent.health.counters import Counters
from agent.health.liveness import LivenessSignal
from agent.log import facts
from agent.terminal.parts import Ports
from agent.terminal.verification_runner import Verification, reason_of

log = logging.getLogger(__name__)

CAMERA_RETRY_S = 0.5
THAW_PAUSES_MS = (5_000, 30_000, 300_000)  # a frozen camera is started anew, again after these
THAW_SLACK_MS = 6_000  # starting anew takes up to 4 s


class FrameLoop:
    """Feeds frames to whatever verification ``current`` returns; None means idle."""

    def __init__(
        self,
        ports: Ports,
        *,
        worker: Executor,
        report: tuple[Counters, ConditionTracker, LivenessSignal],
        current: Callable[[], Verification | None],
    ) -> None:
        self._clock = ports.clock
        self._camera = ports.camera
        self._eye = ports.eye
        self._glance = ports.glance
        self._expose = ports.expose
        self._lit: Verification | None = None  # the one whose payer the camera exposes for
        self._worker = worker
        self._counters, self._conditions, self._pulse = report
        self._current = current
        self._thawed, self._thaw_at_ms = 0, 0

    async def run(self) -> None:
        """For ever; ends only with ``CameraHung``."""
        seq = 0
        while True:
            try:
                frame = await self._camera.next_frame(seq)
            except CameraError as error:
                self._camera_failed(error)
                if isinstance(error, CameraHung):
                    raise
                await asyncio.sleep(CAMERA_RETRY_S)
                continue
            seq = frame.seq
            health = self._glance(frame)
            self._note_camera(health)
            verification = self._current()
            if self._lit not in (None, verification):  # the next payer starts from the camera's own exposure
                self._lit = None
                self._expose(None)
            if verification is None:
                self._counters.frames[FrameReason.IDLE] += 1
            else:
                await self._look(verification, frame, health)
            await self._thaw(health)

    async def _thaw(self, health: CameraHealth) -> None:
        """A camera that repeats one picture is started anew, again after ever longer pauses."""
        now_ms = self._clock.now_ms()
        if not health.frozen:
            self._thawed, self._thaw_at_ms = 0, now_ms
            self._pulse.frame()
            return
        self._pulse.recovering(now_ms + THAW_SLACK_MS)
        if now_ms >= self._thaw_at_ms:
            self._thaw_at_ms = now_ms + THAW_PAUSES_MS[min(self._thawed, len(THAW_PAUSES_MS) - 1)]
            self._thawed += 1
            await self._restart()

    async def _restart(self) -> None:
        """In a thread: a driver may take its time. A camera that is still away is tried again later.

        When the loop ends meanwhile, nobody waits for that thread, and the camera is stopped elsewhere: the
        thread itself sees to it that no camera runs when it is the later one.
        """
        ended = threading.Event()

        def start() -> None:
            try:
                self._camera.start()
            finally:
                if ended.is_set():
                    self._camera.stop()

        try:
            await asyncio.to_thread(start)
        except asyncio.CancelledError:
            ended.set()
            raise
        except CameraError as error:
            log.warning("camera_restart_failed", extra=facts(code=error.code, why=error))
        else:
            log.info("camera_restarted")

    def _note_camera(self, health: CameraHealth) -> None:
        for condition, holds in ((CAMERA_FROZEN, health.frozen), (CAMERA_COVERED, health.covered)):
            if holds:
                self._conditions.raise_(condition)
            else:
                self._conditions.clear(condition)
        self._conditions.clear(*NO_PICTURE)

    async def _look(self, verification: Verification, frame: Frame, health: CameraHealth) -> None:
        if health.frozen:  # the same picture again and again is nobody's live face
            self._counters.frames[FrameReason.NO_FACE] += 1
            verification.post(CameraFailed(self._clock.now_ms(), Reason.CAMERA_FROZEN))
            return
        loop = asyncio.get_running_loop()
        try:
            seen = await loop.run_in_executor(self._worker, self._eye.look, frame)
        except AgentError as error:
            log.error("eye_failed", extra=facts(code=error.code, why=error))
            self._counters.frames[FrameReason.NO_FACE] += 1
            verification.post(InputFailed(self._clock.now_ms(), reason_of(error)))
            return
        except Exception:
            log.exception("bug_in_eye")
            self._counters.frames[FrameReason.NO_FACE] += 1
            verification.post(InternalFailure(self._clock.now_ms()))
            return
        self._counters.frames[seen.reason] += 1
        light = light_on(seen)
        if light is not None:
            self._lit = verification
            self._expose(light)
        verification.post(FrameAnalyzed(self._clock.now_ms(), seen))

    def _camera_failed(self, error: CameraError) -> None:
        """One condition at a time, and the log hears of it once: it is asked for again twice a second."""
        found = condition_of(error.code)
        condition = found if found in NO_PICTURE else CAMERA_UNAVAILABLE
        if condition not in self._conditions.active:
            log.warning("camera_failed", extra=facts(code=condition.code, why=error, fix=str(error.fix)))
        self._conditions.clear(
            *(each for each in conditions_camera.ROWS if each != condition)
        )  # it may hold since long
        self._conditions.raise_(condition)
        self._pulse.recovering(error.bounded_until_ms)
        verification = self._current()
        if verification is not None:
            verification.post(CameraFailed(self._clock.now_ms(), reason_of(error)))
