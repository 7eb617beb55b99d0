"""Local face analyzer: one frame in, one analysis with exactly one reason out.

While one payer is known, the detector runs only in the region around the payer's face, at about a third of
the cost. Four rules keep that safe:

1. A detection in the whole frame runs at least every 300 ms, so no other person stays undetected for longer.
2. An unusual region does not decide: no face, two faces, a jump, a sudden change of size, implausible
   landmarks, or another reason than that of the last whole frame. The whole of the same frame is then
   analyzed and decides.
3. A shot comes from a detection in the whole frame only, because the crop must blank all other faces of that
   frame. A region with a better shot starts a detection in the whole frame.
4. Track numbers follow one rule, that of ``FaceIdentity``, for both kinds of detection. A face that needs an
   embedding is detected in the whole frame, because only a shot can be compared.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agent.config import VisionConfig
from agent.core.judgement import Judgement, judge
from agent.core.model import Analysis, Crop, Detection, Frame, Quality, Shot
from agent.core.policy import PolicyLimits
from agent.core.reasons import Continuity, FrameReason, Guidance
from agent.errors import ImageError
from agent.texts import Text
from agent.vision.cover import judge_cover
from agent.vision.crop import crop_face
from agent.vision.detection_schedule import DetectionSchedule
from agent.vision.detector import Detector
from agent.vision.embedding import align
from agent.vision.face_identity import FaceIdentity, TrackAssignment
from agent.vision.follower import FaceDetector, Follower
from agent.vision.low_resolution import detect_all
from agent.vision.luma import Sample, is_washed_out, sample
from agent.vision.quality import measure
from agent.vision.shot_checks import LivenessModel, check_shot
from agent.vision.stillness import Stillness

_NOT_ASSIGNED = TrackAssignment(None, Continuity.UNKNOWN)
_BETTER_SCORE = 5.0  # of 100: a region scores the same face up to 4 points higher than the whole frame
_STRAIGHTER_YAW = 10.0  # of 100: a yaw of 0.06


class LocalFaceAnalyzer:
    """Implements ``core.ports.FaceAnalyzer``. One call at a time."""

    def __init__(
        self,
        config: VisionConfig,
        limits: PolicyLimits,
        detector: FaceDetector | None = None,
        liveness_models: Sequence[LivenessModel] = (),
        identity: FaceIdentity | None = None,
        *,
        challenge: bool = False,
        shading: bool = False,
    ) -> None:
        """Load and check the detector unless ``detector`` is given. Raises ``ModelError``.

        ``liveness_models`` check every shot before its crop. ``identity`` assigns faces to tracks.
        ``challenge``: analyses carry the appearance of the face, and a face that never moves is no face.
        ``shading``: the light on the face must change in each turn.
        """
        self._challenge = challenge
        self._shading = shading
        self._stillness = Stillness()
        self._liveness_models = liveness_models
        self._config = config
        self._limits = limits
        # a second network: one network for both would need 0.5 ms at every change of the input size
        self.detector, region_detector = (detector, detector) if detector else _two_networks(config)
        self._identity = identity or FaceIdentity()
        self._follower = Follower(region_detector)
        self._schedule = DetectionSchedule()
        self._began_ms = 0
        self._whole_reason: FrameReason | None = None  # of the payer in the last whole frame
        self._last_shot_quality: Quality | None = None  # of the last whole frame, if its reason was SHOT

    def set_limits(self, limits: PolicyLimits) -> None:
        """Replace the limits, between two verifications."""
        self._limits = limits

    def begin(self, at_ms: int) -> None:
        """Delete face, tracks and presence, at the start and at the end of a verification.

        A shot with an earlier capture time does not count in the core, so its score is not used here either.
        """
        self._began_ms = at_ms
        self._identity.begin()
        self._stillness.begin()
        self._follower.stop()
        self._schedule.begin()

    def analyze(self, frame: Frame) -> Analysis:
        """Find the payer's face. Frames with invalid pixels are ``no_face``.

        Raises:
            ModelError: ``model_unusable``, the detector failed on a well-formed frame.
        """
        no_face = Analysis(frame.seq, frame.captured_ms, FrameReason.NO_FACE)
        luma = sample(frame.pixels)
        if luma is None or not isinstance(frame.pixels, np.ndarray):
            return no_face
        self._identity.tracker.note_frame(frame.captured_ms)
        if not self._schedule.is_due(luma, frame.captured_ms):
            return replace(no_face, reason=FrameReason.NO_PRESENCE, hint=_light_hint(luma))
        followed = self._follow(frame, frame.pixels)
        if followed is not None:
            self._schedule.note_face(frame.captured_ms)
            return followed
        self._schedule.note_whole_frame(frame.captured_ms)
        self._follower.stop()
        detections = detect_all(self.detector, frame.pixels, frame.small, self._config.detector_width_px)
        if not detections:
            self._schedule.note_no_face(luma)
            return replace(no_face, hint=_light_hint(luma))
        self._schedule.note_face(frame.captured_ms)
        return self._analyze_whole(frame, frame.pixels, detections)

    def crop(self, shot: Shot) -> Crop:
        """JPEG of the face with margin from the full-size frame, bystanders blanked.

        Raises ``ImageError``; with a challenge or a liveness model ``LivenessError`` and ``ModelError``.
        """
        pixels = shot.frame.pixels
        if not isinstance(pixels, np.ndarray):
            raise ImageError(Text("detail.shot_without_pixels"))
        check_shot(shot, pixels, self._identity, self._liveness_models, shading=self._shading)
        return crop_face(
            pixels,
            shot.face,
            shot.others,
            margin=self._config.crop_margin,
            max_bytes=self._config.crop_max_bytes,
        )

    def _follow(self, frame: Frame, bgr: NDArray[np.uint8]) -> Analysis | None:
        """The same payer in the region of the last face; None when the whole frame must decide."""
        if self._schedule.is_whole_due(frame.captured_ms):
            return None
        face = self._follower.find(bgr)
        if face is None or not self._identity.tracker.continues(face.box, frame.captured_ms):
            return None
        judgement = self._judge((face,), bgr)
        if judgement.quality is None:
            return None
        is_shot = judgement.reason is FrameReason.SHOT
        if judgement.reason is not self._whole_reason or (is_shot and self._is_useful(judgement.quality)):
            return None
        aligned = align(bgr, face) if is_shot or self._challenge else None
        shot_face = aligned if is_shot else None
        if not self._identity.continues(face, frame.captured_ms, shot_face):
            return None
        if is_shot:
            judgement = replace(judgement, reason=FrameReason.FOLLOWED)
        self._follower.move(face)
        assigned = self._identity.assign(face, frame.captured_ms, shot_face)
        return _analysis(frame, bgr, judgement, assigned, aligned)

    def _is_useful(self, quality: Quality) -> bool:
        """Whether another shot is useful: not after an excellent shot, because that shot is sent at once.

        If the core refused the last shot, the next whole frame provides another shot. With a challenge the
        core waits for a head that looks straight again, so each straighter face is useful.
        """
        last = self._last_shot_quality
        if last is None or (self._challenge and quality.head_pose_yaw > last.head_pose_yaw + _STRAIGHTER_YAW):
            return True
        return last.score < self._limits.excellent_score and quality.score > last.score + _BETTER_SCORE

    def _judge(self, detections: tuple[Detection, ...], bgr: NDArray[np.uint8]) -> Judgement:
        height, width = bgr.shape[:2]
        return judge(detections, width, height, self._limits, lambda face: measure(bgr, face))

    def _analyze_whole(
        self, frame: Frame, bgr: NDArray[np.uint8], detections: tuple[Detection, ...]
    ) -> Analysis:
        """The analysis of the whole frame with all its detections, at least one."""
        judgement = self._judge(detections, bgr)
        face, quality = judgement.face, judgement.quality
        if face is None or quality is None:
            return _analysis(frame, bgr, judgement)
        if self._challenge and self._stillness.is_still(bgr, face.box, frame.captured_ms):
            return Analysis(frame.seq, frame.captured_ms, FrameReason.NO_FACE)
        aligned = align(bgr, face) if judgement.reason is FrameReason.SHOT or self._challenge else None
        judgement = judgement if aligned is None else judge_cover(judgement, aligned, self._limits)
        is_shot = judgement.reason is FrameReason.SHOT
        self._follower.start(face, judgement.others, bgr)
        self._whole_reason = judgement.reason
        self._last_shot_quality = quality if is_shot and frame.captured_ms >= self._began_ms else None
        assigned = self._identity.assign(face, frame.captured_ms, aligned if is_shot else None)
        return _analysis(frame, bgr, judgement, assigned, aligned)


def _analysis(
    frame: Frame,
    bgr: NDArray[np.uint8],
    judgement: Judgement,
    assigned: TrackAssignment | None = None,
    appearance: NDArray[np.uint8] | None = None,
) -> Analysis:
    """The analysis of a frame. Without ``assigned``, no payer was selected: all faces are others."""
    height, width = bgr.shape[:2]
    face, quality, others = judgement.face, judgement.quality, judgement.others
    if face is None or quality is None or assigned is None:
        face, quality, others = None, None, others if face is None else (face, *others)
    shot = None
    if face and quality and assigned and judgement.reason is FrameReason.SHOT and assigned.track is not None:
        shot = Shot(frame, face, quality, assigned.track, others)
    assigned = assigned or _NOT_ASSIGNED
    return Analysis(
        frame.seq,
        frame.captured_ms,
        judgement.reason,
        face,
        assigned.track,
        quality,
        shot,
        judgement.hint,
        others,
        frame_width_px=width,
        frame_height_px=height,
        continuity=assigned.continuity,
        similarity=assigned.similarity,
        appearance=appearance,
    )


def _light_hint(luma: Sample) -> Guidance | None:
    """``too_bright`` for a frame in which the light can hide a face."""
    return Guidance.TOO_BRIGHT if is_washed_out(luma) else None


def _two_networks(config: VisionConfig) -> tuple[Detector, Detector]:
    detector = Detector.load(
        config.detector_model,
        width_px=config.detector_width_px,
        confidence=config.confidence,
        threads=config.threads,
    )
    return detector, detector.second_network()
