"""The local eye: one frame in, one analysis out, with exactly one reason.

While one payer is known, frames are looked at only around his face, which costs about a third. What
keeps that safe:

1. The whole frame is looked at at least every 300 ms: nobody else stands there unseen for longer.
2. A region in which anything is odd (no face, two, a jump, a sudden change of size, landmarks that are no
   face, another reason than the whole frame gave last) says nothing: the whole of the same frame is looked
   at, and that decides.
3. A shot comes from a look at the whole frame only, because everybody else in that very frame must be known
   to be blanked. A region that promises a shot worth having makes the eye look at the whole frame.
4. The track number obeys one rule, that of ``FaceIdentity``, whichever way a face was found. A face that
   needs an embedding is detected in the whole frame, because only a shot can be compared.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agent.config import VisionConfig
from agent.core.model import Analysis, Crop, Detection, Frame, Quality, Shot
from agent.core.policy import PolicyLimits, choose_face, gate, hint_for
from agent.core.reasons import FrameReason
from agent.errors import ImageError, LivenessError
from agent.vision.crop import crop_face
from agent.vision.detection_schedule import DetectionSchedule
from agent.vision.detector import Detector
from agent.vision.embedding import align
from agent.vision.external_liveness import ExternalLiveness
from agent.vision.face_identity import FaceIdentity, Placed
from agent.vision.follower import FaceFinder, Follower
from agent.vision.low_resolution import detect_all
from agent.vision.luma import sample
from agent.vision.quality import measure

_BETTER = 5.0  # of 100: a region scores the same face up to 4 points higher than the whole frame does


class LocalFaceAnalyzer:
    """Implements ``core.ports.Eye``. One call at a time."""

    def __init__(
        self,
        config: VisionConfig,
        limits: PolicyLimits,
        finder: FaceFinder | None = None,
        veto: ExternalLiveness | None = None,
        identity: FaceIdentity | None = None,
    ) -> None:
        """Loads and checks the detector unless one is handed in. Raises ``ModelError``.

        ``veto``: every shot must pass it before it is cropped. ``identity``: places faces in tracks.
        """
        self._veto = veto
        self._config = config
        self._limits = limits
        self._finder = finder or _loaded(config)
        self._identity = identity or FaceIdentity()
        # a network of its own: one that serves both loses half a millisecond at every change of size
        self._follower = Follower(finder or _loaded(config))
        self._cadence = DetectionSchedule()
        self._begun_ms = 0
        self._whole_reason: FrameReason | None = None  # what it said of the payer
        self._shot_score: float | None = None  # of the last look at the whole frame, if it was one

    def use(self, limits: PolicyLimits) -> None:
        """Other limits, between two verifications."""
        self._limits = limits

    def begin(self, at_ms: int) -> None:
        """A verification starts or has ended: forget its face, tracks and presence.

        A shot captured before does not count for the core, so it is none to rest upon here either.
        """
        self._begun_ms = at_ms
        self._identity.begin()
        self._follower.drop()
        self._cadence.begin()

    def look(self, frame: Frame) -> Analysis:
        """Find the payer's face. Frames with odd pixels are ``no_face``.

        Raises:
            ModelError: ``model_unusable``, the detector failed on a well-formed frame.
        """
        nothing = Analysis(frame.seq, frame.captured_ms, FrameReason.NO_FACE)
        luma = sample(frame.pixels)
        if luma is None or not isinstance(frame.pixels, np.ndarray):
            return nothing
        self._identity.tracker.frame(frame.captured_ms)
        if not self._cadence.is_due(luma, frame.captured_ms):
            return replace(nothing, reason=FrameReason.NO_PRESENCE)
        followed = self._follow(frame, frame.pixels)
        if followed is not None:
            self._cadence.found_a_face(frame.captured_ms)
            return followed
        self._cadence.looks_at_whole(frame.captured_ms)
        self._follower.drop()
        detections = detect_all(self._finder, frame.pixels, frame.small, self._config.detector_width_px)
        if not detections:
            self._cadence.found_nobody(luma)
            return nothing
        self._cadence.found_a_face(frame.captured_ms)
        return self._judge(frame, frame.pixels, detections)

    def crop(self, shot: Shot) -> Crop:
        """JPEG of the face with margin from the full frame, bystanders blanked.

        Raises ``ImageError``, and where a veto is configured ``LivenessError`` and ``ModelError``.
        """
        if not isinstance(shot.frame.pixels, np.ndarray):
            raise ImageError("the shot's frame holds no pixels")
        if self._veto is not None and not self._veto.is_live(shot.frame.pixels, shot.face):
            raise LivenessError("the liveness model does not take this for a living face")
        return crop_face(
            shot.frame.pixels,
            shot.face,
            shot.others,
            margin=self._config.crop_margin,
            max_bytes=self._config.crop_max_bytes,
        )

    def _follow(self, frame: Frame, bgr: NDArray[np.uint8]) -> Analysis | None:
        """The same payer again, found where he was; None when only the whole frame can tell."""
        if self._cadence.is_whole_due(frame.captured_ms):
            return None
        face = self._follower.find(bgr)
        if face is None or not self._identity.tracker.continues(face.box, frame.captured_ms):
            return None
        high, wide = bgr.shape[:2]
        if choose_face((face,), wide, high, self._limits).reason is not None:
            return None
        quality = measure(bgr, face)
        reason = gate(face, quality, wide, high, self._limits)
        is_shot = reason is FrameReason.SHOT
        if reason is not self._whole_reason or (is_shot and self._is_wanted(quality)):
            return None
        usable = align(bgr, face) if is_shot else None
        if not self._identity.continues(face, frame.captured_ms, usable):
            return None
        if is_shot:
            reason = FrameReason.FOLLOWED
        self._follower.move(face)
        placed = self._identity.place(face, frame.captured_ms, usable)
        return _placed_in(_found(frame, bgr, reason), frame, face, quality, placed, self._limits)

    def _is_wanted(self, quality: Quality) -> bool:
        """Whether such a shot is of use. After an excellent one, which is sent at once, none is.

        The core may have refused the last shot all the same: then the next whole frame brings another.
        """
        if self._shot_score is None:
            return True
        excellent = self._shot_score >= self._limits.excellent_score
        return not excellent and quality.score > self._shot_score + _BETTER

    def _judge(self, frame: Frame, bgr: NDArray[np.uint8], detections: tuple[Detection, ...]) -> Analysis:
        """All faces of the whole frame are known."""
        high, wide = bgr.shape[:2]
        choice = choose_face(detections, wide, high, self._limits)
        if choice.reason is not None or choice.face is None:
            reason = choice.reason or FrameReason.NO_FACE
            hint = hint_for(reason, choice.face, wide, self._limits)
            everyone = choice.others if choice.face is None else (choice.face, *choice.others)
            return replace(_found(frame, bgr, reason), hint=hint, others=everyone)
        face = choice.face
        quality = measure(bgr, face)
        reason = gate(face, quality, wide, high, self._limits)
        self._follower.start(face, choice.others, bgr)
        self._whole_reason = reason
        counts = reason is FrameReason.SHOT and frame.captured_ms >= self._begun_ms
        self._shot_score = quality.score if counts else None
        usable = align(bgr, face) if reason is FrameReason.SHOT else None
        placed = self._identity.place(face, frame.captured_ms, usable)
        found = _found(frame, bgr, reason)
        return _placed_in(found, frame, face, quality, placed, self._limits, choice.others)


def _placed_in(
    found: Analysis,
    frame: Frame,
    face: Detection,
    quality: Quality,
    placed: Placed,
    limits: PolicyLimits,
    others: tuple[Detection, ...] = (),
) -> Analysis:
    """The analysis of a frame with one payer, placed in a track."""
    shot = None
    if found.reason is FrameReason.SHOT and placed.track is not None:
        shot = Shot(frame, face, quality, placed.track, others)
    return replace(
        found,
        face=face,
        track=placed.track,
        quality=quality,
        shot=shot,
        hint=hint_for(found.reason, face, found.frame_width_px, limits),
        others=others,
        continuity=placed.continuity,
        similarity=placed.similarity,
    )


def _found(frame: Frame, bgr: NDArray[np.uint8], reason: FrameReason) -> Analysis:
    high, wide = bgr.shape[:2]
    return Analysis(frame.seq, frame.captured_ms, reason, frame_width_px=wide, frame_height_px=high)


def _loaded(config: VisionConfig) -> Detector:
    return Detector.load(
        config.detector_model,
        width_px=config.detector_width_px,
        confidence=config.confidence,
        threads=config.threads,
    )
