"""Detection of all faces in the low-resolution picture of a frame, if the camera delivers one.

The detector scales its input down, which costs a fifth of a detection. A low-resolution picture of the same
moment and view avoids that cost. Faces are returned in pixels of the frame in both cases.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agent.core.model import Box, Detection, Landmarks, Point
from agent.core.policy import coordinates
from agent.vision.follower import FaceDetector

Pixels = NDArray[np.uint8]

_SAME_VIEW = 0.02  # largest relative difference of the two scales


def detect_all(detector: FaceDetector, bgr: Pixels, small: object, input_px: int) -> tuple[Detection, ...]:
    """All faces of a frame, in pixels of the frame.

    Args:
        bgr: (H, W, 3) uint8, the frame.
        small: the low-resolution picture of the frame; any other value is not used.
        input_px: longer side of the detector's input. In a smaller picture, far faces would be missed.
    Raises:
        ModelError: ``model_unusable``, the detector failed.
    """
    if not isinstance(small, np.ndarray) or not can_replace(small, bgr, input_px):
        return detector.detect(bgr)
    scale_x, scale_y = bgr.shape[1] / small.shape[1], bgr.shape[0] / small.shape[0]
    return tuple(_scaled(face, scale_x, scale_y) for face in detector.detect(small))


def can_replace(small: NDArray[np.generic], bgr: Pixels, input_px: int) -> bool:
    """Whether the low-resolution picture can replace the frame as input of the detector."""
    if small.dtype != np.uint8 or small.ndim != 3 or small.shape[2] != 3 or small.size == 0:
        return False
    scale_x, scale_y = bgr.shape[1] / small.shape[1], bgr.shape[0] / small.shape[0]
    is_large_enough = max(small.shape[:2]) >= min(input_px, max(bgr.shape[:2]))
    is_not_larger = scale_x >= 1 and scale_y >= 1
    return bool(is_large_enough and is_not_larger and abs(scale_x / scale_y - 1) <= _SAME_VIEW)


def _scaled(face: Detection, x: float, y: float) -> Detection:
    box, numbers = face.box, coordinates(face.landmarks)
    points = [Point(numbers[i] * x, numbers[i + 1] * y) for i in range(0, 10, 2)]
    large = Box(box.x_px * x, box.y_px * y, box.width_px * x, box.height_px * y)
    return replace(face, box=large, landmarks=Landmarks(*points))
