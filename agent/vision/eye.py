"""The local eye: one frame in, one analysis out, with exactly one reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.config import VisionConfig
from agent.core.model import Analysis, Crop, Detection, Frame, Shot
from agent.core.policy import PolicyLimits, choose_face, gate, hint_for
from agent.core.reasons import FrameReason
from agent.errors import ImageError
from agent.vision.crop import crop_face
from agent.vision.detector import Detector
from agent.vision.luma import PresenceGate, Sample, sample
from agent.vision.quality import measure
from agent.vision.tracker import Tracker

_HEARTBEAT_MS = 300  # a detection at least this often: somebody who stands quite still is never missed
_ENGAGED_MS = 1_000  # after a face was seen, every frame is looked at for this long


class Finder(Protocol):
    """What the eye needs of a detector."""

    def detect(self, bgr: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """All faces in one (H, W, 3) uint8 picture, in its own pixels."""


class LocalEye:
    """Implements ``core.ports.Eye``. One call at a time."""

    def __init__(self, config: VisionConfig, limits: PolicyLimits, finder: Finder | None = None) -> None:
        """Loads and checks the detector unless one is handed in. Raises ``ModelError``."""
        self._config = config
        self._limits = limits
        self._finder = finder or Detector.load(
            config.detector_model,
            width_px=config.detector_width_px,
            confidence=config.confidence,
            threads=config.threads,
        )
        self._tracker = Tracker()
        self._presence = PresenceGate()
        self._detected_ms: int | None = None
        self._face_ms: int | None = None

    def begin(self, at_ms: int) -> None:  # noqa: ARG002 - the port's signature; frames bring their own time
        """A verification starts: forget tracks and presence of the one before."""
        self._tracker.begin()
        self._presence.begin()
        self._detected_ms = None
        self._face_ms = None

    def look(self, frame: Frame) -> Analysis:
        """Find the payer's face. Frames with odd pixels are ``no_face``.

        Raises:
            ModelError: ``model_unusable``, the detector failed on a well-formed frame.
        """
        nothing = Analysis(frame.seq, frame.captured_ms, FrameReason.NO_FACE)
        luma = sample(frame.pixels)
        if luma is None or not isinstance(frame.pixels, np.ndarray):
            return nothing
        if not self._is_due(luma, frame.captured_ms):
            return replace(nothing, reason=FrameReason.NO_PRESENCE)
        self._detected_ms = frame.captured_ms
        detections = self._finder.detect(frame.pixels)
        if not detections:
            self._presence.learn(luma)
            return nothing
        self._face_ms = frame.captured_ms
        return self._judge(frame, frame.pixels, detections)

    def crop(self, shot: Shot) -> Crop:
        """JPEG of the face with margin from the full frame, bystanders blanked. Raises ``ImageError``."""
        if not isinstance(shot.frame.pixels, np.ndarray):
            raise ImageError("the shot's frame holds no pixels")
        return crop_face(
            shot.frame.pixels,
            shot.face,
            shot.others,
            margin=self._config.crop_margin,
            max_bytes=self._config.crop_max_bytes,
        )

    def _is_due(self, luma: Sample, at_ms: int) -> bool:
        """Whether this frame is worth a detection."""
        if self._detected_ms is None or at_ms - self._detected_ms >= _HEARTBEAT_MS:
            return True
        if self._face_ms is not None and at_ms - self._face_ms <= _ENGAGED_MS:
            return True
        return self._presence.is_present(luma)

    def _judge(self, frame: Frame, bgr: NDArray[np.uint8], detections: tuple[Detection, ...]) -> Analysis:
        high, wide = bgr.shape[:2]
        choice = choose_face(detections, wide, high, self._limits)
        if choice.reason is not None or choice.face is None:
            reason = choice.reason or FrameReason.NO_FACE
            hint = hint_for(reason, choice.face, wide, self._limits)
            return Analysis(frame.seq, frame.captured_ms, reason, hint=hint)
        face = choice.face
        track = self._tracker.update(face.box, frame.captured_ms)
        quality = measure(bgr, face)
        reason = gate(face, quality, wide, high, self._limits)
        is_shot = reason is FrameReason.SHOT
        return Analysis(
            frame.seq,
            frame.captured_ms,
            reason,
            face=face,
            track=track,
            quality=quality,
            shot=Shot(frame, face, quality, track, choice.others) if is_shot else None,
            hint=hint_for(reason, face, wide, self._limits),
        )
