"""The frame loop: every frame gets one cheap look; only those of an open verification go to the eye.

The next frame is fetched when the eye is done with the last one, and it is the newest there is: frames never
queue. A camera that fails is asked again for ever; what it means for the verification the core decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor

from agent.core.model import CameraHealth, Frame
from agent.core.policy import light_on
from agent.core.reasons import FrameReason, Reason
from agent.core.steps import Broke, CameraFailed, Failed, Looked
from agent.errors import AgentError, CameraError, Retry
from agent.health.counters import Counters
from agent.health.tracker import CAMERA, Tracker
from agent.log import facts
from agent.parts import Ports
from agent.runtime import Verification, reason_of

log = logging.getLogger(__name__)

CAMERA_RETRY_S = 0.5
CAMERA_RESTART_S = 5.0  # without a picture for that long, and again after each such time: start it anew


class FrameLoop:
    """Feeds frames to whatever verification ``current`` returns; None means idle."""

    def __init__(
        self,
        ports: Ports,
        *,
        worker: Executor,
        report: tuple[Counters, Tracker],
        current: Callable[[], Verification | None],
    ) -> None:
        self._clock = ports.clock
        self._camera = ports.camera
        self._eye = ports.eye
        self._glance = ports.glance
        self._expose = ports.expose
        self._lit: Verification | None = None  # the one whose payer the camera exposes for
        self._worker = worker
        self._counters, self._conditions = report
        self._current = current

    async def run(self) -> None:
        seq, failing_ms = 0, self._clock.now_ms()
        while True:
            try:
                frame = await self._camera.next_frame(seq)
            except CameraError as error:
                self._camera_failed(reason_of(error))
                await asyncio.sleep(CAMERA_RETRY_S)
                lost_ms = self._clock.now_ms() - failing_ms
                if error.retry is not Retry.NEVER and lost_ms >= CAMERA_RESTART_S * 1e3:
                    await self._restart()
                    failing_ms = self._clock.now_ms()
                continue
            seq, failing_ms = frame.seq, self._clock.now_ms()
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

    async def _restart(self) -> None:
        """In a thread: a driver may take its time. A camera that is still away is tried again later."""
        try:
            await asyncio.to_thread(self._camera.start)
        except CameraError as error:
            log.warning("camera_restart_failed", extra=facts(code=error.code, why=error))
        else:
            log.info("camera_restarted")

    def _note_camera(self, health: CameraHealth) -> None:
        for code, holds in (("camera_frozen", health.frozen), ("camera_covered", health.covered)):
            if holds:
                self._conditions.raise_(code)
            else:
                self._conditions.clear(code)
        self._conditions.clear("camera_unavailable")

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
            verification.post(Failed(self._clock.now_ms(), reason_of(error)))
            return
        except Exception:
            log.exception("bug_in_eye")
            self._counters.frames[FrameReason.NO_FACE] += 1
            verification.post(Broke(self._clock.now_ms()))
            return
        self._counters.frames[seen.reason] += 1
        light = light_on(seen)
        if light is not None:
            self._lit = verification
            self._expose(light)
        verification.post(Looked(self._clock.now_ms(), seen))

    def _camera_failed(self, reason: Reason) -> None:
        log.warning("camera_failed", extra=facts(reason=reason))
        self._conditions.clear(*(code for code in CAMERA if code != reason))  # it may hold since long
        self._conditions.raise_(reason)
        verification = self._current()
        if verification is not None:
            verification.post(CameraFailed(self._clock.now_ms(), reason))
