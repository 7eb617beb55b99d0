"""What a technician may see through the agent's camera. Part of the root.

The one exception to "no face is looked for without an accepted request": somebody asked for exactly that, it
is logged (and for the live preview said in ``state``), it ends when he looks away, and it waits for payers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from typing import TypeVar

from agent.control import camera
from agent.control.camera import ShotLook
from agent.control.server import Look
from agent.core.guidance import ShownHint, next_hint
from agent.core.model import Analysis, Frame
from agent.core.policy import PolicyLimits
from agent.core.ports import FaceAnalyzer
from agent.core.rate import TokenBucket
from agent.errors import AgentError, CameraError
from agent.live_view.annotate import annotated, jpeg_of
from agent.live_view.frame_tap import FrameTap
from agent.live_view.lens_meter import look_through
from agent.log import facts

log = logging.getLogger(__name__)

_SHOT_QUALITY = 85
LOOK_EVERY_MS = 240  # at 10 frames a second: every third
_FORGOTTEN_MS = 2_000
# no film out of single pictures, which `state` would not speak of; and few enough that the log names each
SHOTS_BURST, SHOT_EVERY_S = 20, 10.0

T = TypeVar("T")


def shot_of(eye: FaceAnalyzer, limits: PolicyLimits, frame: Frame) -> ShotLook:
    """One frame, looked at as a whole and drawn upon. Blocks for some milliseconds; for the vision thread.

    Raises:
        ImageError: the frame holds no picture.
        ModelError: the detector failed.
    """
    eye.begin(frame.captured_ms)  # nothing known of before: the whole frame is looked at
    analysis = eye.look(frame)
    jpeg = jpeg_of(annotated(frame.pixels, analysis, limits), _SHOT_QUALITY)
    return ShotLook(jpeg, str(analysis.reason), guidance_of(analysis))


def guidance_of(analysis: Analysis) -> str:
    """The hint a payer would be shown for this frame alone; empty for none."""
    return str(next_hint(ShownHint(), analysis, 0).guidance or "")


class LivePicture:
    """Draws one frame after the other. For the vision thread; keeps no frame, only what was last seen in one.

    A face is looked for four times a second, not in every frame: what it costs beside the camera is bounded.
    """

    def __init__(self, eye: FaceAnalyzer, limits: Callable[[], PolicyLimits]) -> None:
        self._eye = eye
        self._limits = limits
        self._seen: Analysis | None = None

    def draw(self, frame: Frame) -> bytes:
        """An annotated JPEG. Raises ``ImageError`` and ``ModelError``."""
        seen = self._seen
        age_ms = _FORGOTTEN_MS if seen is None else frame.captured_ms - seen.captured_ms
        if seen is None or not 0 <= age_ms < LOOK_EVERY_MS:
            if not 0 <= age_ms < _FORGOTTEN_MS:
                self._eye.begin(frame.captured_ms)
            seen = replace(self._eye.look(frame), shot=None)  # a shot would keep its frame
            self._seen = seen
        return jpeg_of(annotated(frame.pixels, seen, self._limits()))


class LiveView:
    """Looks through the running agent's camera: one look at a time, in the vision thread, between payers."""

    def __init__(
        self, finder: FrameTap, eye: FaceAnalyzer, worker: Executor, limits: Callable[[], PolicyLimits]
    ) -> None:
        self._finder = finder
        self._eye = eye
        self._worker = worker
        self._limits = limits
        self._one = asyncio.Lock()
        self._shots = TokenBucket(1 / SHOT_EVERY_S, SHOTS_BURST, 0.0)

    @property
    def looks(self) -> Mapping[bytes, Look]:
        """For the status socket."""
        return {camera.LENS: self._lens, camera.SHOT: self._shot}

    async def see(self, work: Callable[[Frame], T]) -> T:
        """``work`` on the next frame that is nobody's, in the vision thread.

        Raises:
            CameraReserved: a payer is served, also when he came while ``work`` was under way.
            CameraError: no frame came.
        """
        async with self._one:
            frame = await self._finder.next_frame()
            self._finder.check()
            made = await asyncio.get_running_loop().run_in_executor(self._worker, work, frame)
            self._finder.check()
            return made

    async def _lens(self, _user: int) -> bytes:
        try:
            return camera.lens_answer(await self.see(lambda frame: look_through(frame.pixels, frame.told)))
        except AgentError as error:
            return camera.refusal(error)

    async def _shot(self, user: int) -> bytes:
        try:
            if not self._shots.take(asyncio.get_running_loop().time()):
                raise CameraError(f"too many pictures: one every {SHOT_EVERY_S:g} s", code=camera.TOO_MANY)
            shot = await self.see(lambda frame: shot_of(self._eye, self._limits(), frame))
        except AgentError as error:
            return camera.refusal(error)
        log.warning("picture_handed_out", extra=facts(user=user, bytes=len(shot.jpeg)))
        return camera.shot_answer(shot)
