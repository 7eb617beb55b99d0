"""Check of an enrolled photo: the same detection and quality limits as for a shot, without a payer zone."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agent.core.judgement import judge
from agent.core.model import Detection, Quality
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.vision.cover import judge_cover
from agent.vision.detector import Detector
from agent.vision.embedding import align
from agent.vision.face_turn import turn_of
from agent.vision.quality import measure

# The small input first, as in the compare service. The larger input finds small faces in a large photo.
_INPUT_WIDTHS_PX = (320, 960)


@dataclass(frozen=True, slots=True)
class CheckedReference:
    """``reason`` is ``shot`` for a photo with one good face. ``face``, ``quality``: of the largest face.

    Attributes:
        turn_deg: the angle by which the photo must be turned clockwise; 0: upright; None: not certain.
        second_face: size of the second largest face as a fraction of the largest; 0: no second face.
    """

    reason: FrameReason
    face: Detection | None = None
    quality: Quality | None = None
    turn_deg: float | None = 0.0
    second_face: float = 0.0


def check_reference(bgr: NDArray[np.uint8], detector: Detector, limits: PolicyLimits) -> CheckedReference:
    """Check one photo.

    Args:
        bgr: (H, W, 3) uint8, upright.
        limits: of the terminal; payer zone and maximum face size do not apply to a photo.
    Raises:
        ModelError: ``model_unusable``, the detector failed.
    """
    anywhere = replace(
        limits, zone_left=0, zone_right=1, zone_top=0, zone_bottom=1, max_face_fraction=math.inf
    )
    photo_height, photo_width = bgr.shape[:2]
    for width_px in _INPUT_WIDTHS_PX:
        faces = detector.detect(bgr, width_px)
        if faces:
            break
    judgement = judge(faces, photo_width, photo_height, anywhere, lambda face: measure(bgr, face))
    if judgement.face is not None and judgement.reason is FrameReason.SHOT:
        judgement = judge_cover(judgement, align(bgr, judgement.face), limits)
    face, quality = judgement.face, judgement.quality
    if face is not None and quality is None:  # off centre: the measures are for the operator only
        quality = measure(bgr, face)
    turn_deg = turn_of(bgr, face, detector) if face is not None else 0.0
    return CheckedReference(judgement.reason, face, quality, turn_deg, _second_face(faces))


def _second_face(faces: tuple[Detection, ...]) -> float:
    sizes = sorted((math.sqrt(face.box.area_px) for face in faces), reverse=True)
    return sizes[1] / sizes[0] if len(sizes) > 1 and sizes[0] > 0 else 0.0
