"""The live view: camera pictures and measurements for a technician.

The one exception to the rule "no face detection without an accepted request". The technician requests each
detection. Each single picture is logged, and ``state`` reports an open live view. A verification has
priority, and no detection runs after the end of the live view.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from agent.control import camera
from agent.control.camera import AnnotatedPicture
from agent.control.server import RequestHandler
from agent.core.model import Analysis, Frame
from agent.core.policy import PolicyLimits
from agent.core.ports import FaceAnalyzer
from agent.core.rate import TokenBucket
from agent.errors import AgentError, CameraError
from agent.health.probe_results import LensReading, MountingReading
from agent.live_view.annotate import analysis_facts, annotate, guidance_of, jpeg_of
from agent.live_view.frame_tap import FrameTap
from agent.live_view.lens_meter import measure_lens
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

_SHOT_QUALITY = 85
DETECT_EVERY_MS = 240  # at 10 frames a second: every third frame
_TRACK_LOST_MS = 2_000
# Limits single pictures: `state` reports a live view, but no series of single pictures. Each one is logged.
PICTURES_BURST, PICTURE_EVERY_S = 20, 10.0

T = TypeVar("T")
Found = LensReading | MountingReading | AnnotatedPicture


def annotated_picture(analyzer: FaceAnalyzer, limits: PolicyLimits, frame: Frame) -> AnnotatedPicture:
    """The annotated picture of one frame. Blocks for some milliseconds; for the vision thread.

    Raises:
        ImageError: the frame contains no picture.
        ModelError: the detector failed.
    """
    analyzer.begin(frame.captured_ms)  # without earlier tracks the whole frame is analyzed
    try:
        analysis = analyzer.analyze(frame)
    finally:
        analyzer.begin(frame.captured_ms)  # deletes the face
    jpeg = jpeg_of(annotate(frame.pixels, analysis, limits), _SHOT_QUALITY)
    return AnnotatedPicture(jpeg, str(analysis.reason), guidance_of(analysis))


class LivePicture:
    """Annotates successive frames. For the vision thread; stores the last analysis, and no frame.

    Faces are detected four times a second, not in each frame, so that the cost beside the camera is bounded.
    """

    def __init__(self, analyzer: FaceAnalyzer, limits: Callable[[], PolicyLimits]) -> None:
        self._analyzer = analyzer
        self._limits = limits
        self._last: Analysis | None = None

    def draw(self, frame: Frame) -> tuple[bytes, dict[str, object]]:
        """A JPEG with boxes and without texts, and the facts for the texts.

        Raises:
            ImageError: the frame contains no picture.
            ModelError: the detector failed.
        """
        analysis = self._last
        age_ms = _TRACK_LOST_MS if analysis is None else frame.captured_ms - analysis.captured_ms
        if analysis is None or not 0 <= age_ms < DETECT_EVERY_MS:
            if not 0 <= age_ms < _TRACK_LOST_MS:
                self._analyzer.begin(frame.captured_ms)
            analysis = self._analyzer.analyze(frame)
            # a shot would keep its frame, an appearance the face
            analysis = self._last = replace(analysis, shot=None, appearance=None)
        limits = self._limits()
        picture = annotate(frame.pixels, analysis, limits, texts=False)
        return jpeg_of(picture), analysis_facts(analysis, limits)

    def end(self) -> None:
        """Delete the face, at the end of the live view. Not during a verification: its track would break."""
        self._last = None
        self._analyzer.begin(0)


class LiveView:
    """Work on frames of the running agent: one at a time, in the vision thread, between verifications."""

    def __init__(
        self,
        tap: FrameTap,
        analyzer: FaceAnalyzer,
        worker: Executor,
        limits: Callable[[], PolicyLimits],
        check_mounting: Callable[[object], MountingReading],
    ) -> None:
        self._tap = tap
        self._analyzer = analyzer
        self._worker = worker
        self._limits = limits
        self._check_mounting = check_mounting
        self._lock = asyncio.Lock()
        self._tokens = TokenBucket(1 / PICTURE_EVERY_S, PICTURES_BURST, 0.0)

    @property
    def handlers(self) -> Mapping[bytes, RequestHandler]:
        """The request handlers for the status socket."""
        works = {camera.LENS: self._lens, camera.MOUNTING: self._mounting, camera.SHOT: self._shot}
        return {request: partial(self._answer, work) for request, work in works.items()}

    async def on_next_frame(self, work: Callable[[Frame], T]) -> T:
        """The result of ``work`` on the next frame without a payer, in the vision thread.

        Raises:
            CameraReserved: a verification is open, also when a request arrives during ``work``.
            CameraError: no frame came.
        """
        async with self._lock:
            frame = await self._tap.next_frame()
            self._tap.check()
            result = await asyncio.get_running_loop().run_in_executor(self._worker, work, frame)
            self._tap.check()
            return result

    async def _answer(self, work: Callable[[int], Awaitable[Found]], user: int) -> bytes:
        try:
            return camera.encode_answer(await work(user))
        except AgentError as error:
            return camera.encode_answer(error)

    async def _lens(self, _user: int) -> Found:
        return await self.on_next_frame(lambda frame: measure_lens(frame.pixels, frame.metadata))

    async def _mounting(self, user: int) -> Found:
        self._take_token()
        reading = await self.on_next_frame(lambda frame: self._check_mounting(frame.pixels))
        log.info("mounting_checked", extra=facts(user=user, rotation=reading.rotation))
        return reading

    async def _shot(self, user: int) -> Found:
        self._take_token()
        shot = await self.on_next_frame(
            lambda frame: annotated_picture(self._analyzer, self._limits(), frame)
        )
        log.warning("picture_handed_out", extra=facts(user=user, bytes=len(shot.jpeg)))
        return shot

    def _take_token(self) -> None:
        """Raises ``CameraError``: too many face detections without a payer."""
        if not self._tokens.take(asyncio.get_running_loop().time()):
            raise CameraError(Text("detail.too_many_pictures", every_s=PICTURE_EVERY_S), code=camera.TOO_MANY)
