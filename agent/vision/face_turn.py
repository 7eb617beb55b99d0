"""Orientation of the face in an enrolled photo: by which angle the photo must be turned.

The landmarks cannot show the angle: for a face that is upside down or tilted by 45°, YuNet returns landmarks
of an upright face. An embedding at these landmarks belongs to another person: the cosine with the same photo
upright was 0.2–0.3 at 45° and about 0 at 180°. The *confidence* of YuNet shows the angle. Measured on the
four shipped photographs: 0.92 to 0.94 for the upright face, at most 0.88 at 45°, at most 0.83 at 180°.
"""

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import Detection
from agent.vision.detector import Detector

Pixels = NDArray[np.uint8]

UPRIGHT_DEG = 20.0  # within this angle the landmarks follow the face
_ANGLES = 16
_STEP_DEG = 360 / _ANGLES
_UPRIGHT_CONFIDENCE = 0.92  # confidence of a face that is upright
_CONFIDENCE_MARGIN = 0.01  # of the confidence between two angles
_MIN_CONFIDENCE = 0.8  # confidence below which an angle has no weight
_AGREEMENT_MIN = 0.85  # length of the mean vector: 1 for one angle, 0 for all angles
_CROP_FACES = 2.6  # side of the crop, in sizes of the face
SEARCH_PX = 160  # side of the detector's input
_CROP_MAX_PX = 640


def turn_of(bgr: Pixels, face: Detection, detector: Detector) -> float | None:
    """The angle by which the photo must be turned clockwise so that the face is upright.

    Args:
        bgr: (H, W, 3) uint8.
        face: a face in ``bgr``, found at any orientation.
    Returns:
        -180 to 180 degrees; 0 for a face within about 20° of upright; None when the angle is not certain.
    Raises:
        ModelError: ``model_unusable``, the detector failed.
    """

    @cache
    def confidence(step: int) -> float:
        crop = turned_crop(bgr, face, step * _STEP_DEG, SEARCH_PX)
        return max((detected.confidence for detected in detector.detect(crop, SEARCH_PX)), default=0.0)

    upright, opposite = confidence(0), confidence(_ANGLES // 2)
    if upright >= _UPRIGHT_CONFIDENCE and opposite < _UPRIGHT_CONFIDENCE - _CONFIDENCE_MARGIN:
        neighbour = max(confidence(1), confidence(_ANGLES - 1))
        if upright >= neighbour - _CONFIDENCE_MARGIN:
            return 0.0
    return _mean_deg([confidence(step) for step in range(_ANGLES)])


def turned_crop(bgr: Pixels, face: Detection, turn_deg: float, side_px: int | None = None) -> Pixels:
    """The surroundings of a face, turned clockwise: (S, S, 3) uint8.

    Args:
        side_px: side of the result; by default the resolution of the photo, at most 640.
    """
    size_px = max(1.0, _CROP_FACES * max(face.box.width_px, face.box.height_px))
    side_px = side_px or min(_CROP_MAX_PX, math.ceil(size_px))
    centre = face.box.centre
    # OpenCV counts angles counterclockwise
    matrix = cv2.getRotationMatrix2D((centre.x_px, centre.y_px), -turn_deg, side_px / size_px)
    matrix[0, 2] += side_px / 2 - centre.x_px
    matrix[1, 2] += side_px / 2 - centre.y_px
    crop = cv2.warpAffine(
        bgr, matrix, (side_px, side_px), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop, np.uint8)


def _mean_deg(confidences: list[float]) -> float | None:
    """The circular mean of the angles, weighted by confidence; None for two directions, or for none."""
    if max(confidences) < _UPRIGHT_CONFIDENCE - 2 * _CONFIDENCE_MARGIN:
        return None
    weights = [max(0.0, confidence - _MIN_CONFIDENCE) ** 2 for confidence in confidences]
    total = 0j
    for step, weight in enumerate(weights):
        angle = 2 * math.pi * step / _ANGLES
        total += weight * complex(math.cos(angle), math.sin(angle))
    if abs(total) < _AGREEMENT_MIN * sum(weights):
        return None
    angle = math.degrees(math.atan2(total.imag, total.real))
    return 0.0 if abs(angle) <= UPRIGHT_DEG else angle
