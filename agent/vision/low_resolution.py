"""Everybody in the whole frame, found in its small picture where the camera made one by the way.

The detector shrinks what it gets to its own input anyway, which costs a fifth of a look. A small picture of
that size, of the same moment and the same view, saves it; faces come out in pixels of the frame all the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agent.core.model import Box, Detection, Landmarks, Point
from agent.core.policy import coordinates
from agent.vision.follower import FaceFinder

Pixels = NDArray[np.uint8]

_SAME_VIEW = 0.02  # how much the two scales may differ


def detect_all(finder: FaceFinder, bgr: Pixels, small: object, input_px: int) -> tuple[Detection, ...]:
    """All faces of a frame, in its pixels.

    Args:
        bgr: (H, W, 3) uint8, the frame.
        small: the frame's small picture, or anything else, which is then not used.
        input_px: width of the detector's input: a small picture that is smaller would lose far faces.
    Raises:
        ModelError: ``model_unusable``, the detector failed.
    """
    if not isinstance(small, np.ndarray) or not stands_for(small, bgr, input_px):
        return finder.detect(bgr)
    scale_x, scale_y = bgr.shape[1] / small.shape[1], bgr.shape[0] / small.shape[0]
    return tuple(_scaled(face, scale_x, scale_y) for face in finder.detect(small))


def stands_for(small: NDArray[np.generic], bgr: Pixels, input_px: int) -> bool:
    """Whether the small picture can stand for the frame as the detector's input."""
    if small.dtype != np.uint8 or small.ndim != 3 or small.shape[2] != 3 or small.size == 0:
        return False
    across, down = bgr.shape[1] / small.shape[1], bgr.shape[0] / small.shape[0]
    is_large_enough = small.shape[1] >= min(input_px, bgr.shape[1])
    return bool(is_large_enough and across >= 1 and abs(across / down - 1) <= _SAME_VIEW)


def _scaled(face: Detection, x: float, y: float) -> Detection:
    box, numbers = face.box, coordinates(face.landmarks)
    points = [Point(numbers[i] * x, numbers[i + 1] * y) for i in range(0, 10, 2)]
    large = Box(box.x_px * x, box.y_px * y, box.width_px * x, box.height_px * y)
    return replace(face, box=large, landmarks=Landmarks(*points))
