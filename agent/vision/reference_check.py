"""Whether an enrolled photo will do: the same face finding and gates as for a shot, without a payer zone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agent.core.model import Detection, Quality
from agent.core.policy import PolicyLimits, choose_face, gate
from agent.core.reasons import FrameReason
from agent.vision.detector import Detector
from agent.vision.quality import measure

# Small first, as the service does: the larger input finds faces that are small in a large photo.
_INPUT_WIDTHS_PX = (320, 960)


@dataclass(frozen=True, slots=True)
class CheckedReference:
    """``reason`` is ``shot`` exactly when the photo can be used. ``face``, ``quality``: of the one face."""

    reason: FrameReason
    face: Detection | None = None
    quality: Quality | None = None


def examine(bgr: NDArray[np.uint8], detector: Detector, limits: PolicyLimits) -> CheckedReference:
    """Look at one photo.

    Args:
        bgr: (H, W, 3) uint8, upright.
        limits: the terminal's own; the payer zone and the largest face do not apply to a photo.
    Raises:
        ModelError: ``model_unusable``, the detector failed.
    """
    anywhere = replace(
        limits, zone_left=0, zone_right=1, zone_top=0, zone_bottom=1, max_face_fraction=math.inf
    )
    high, wide = bgr.shape[:2]
    for width_px in _INPUT_WIDTHS_PX:
        faces = detector.detect(bgr, width_px)
        if faces:
            break
    choice = choose_face(faces, wide, high, anywhere)
    if choice.face is None:
        return CheckedReference(choice.reason or FrameReason.NO_FACE)
    quality = measure(bgr, choice.face)
    reason = choice.reason or gate(choice.face, quality, wide, high, anywhere)
    return CheckedReference(reason, choice.face, quality)
