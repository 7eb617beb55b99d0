"""Conversion of a picture of any size to a frame of the configured size: scaled to fit, the rest black."""

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.errors import CameraError
from agent.texts import Text

Pixels = NDArray[np.uint8]

_MIN_SIDE_PX = 16


def fit_to_size(
    picture: NDArray[np.integer | np.floating], width_px: int, height_px: int, name: str
) -> Pixels:
    """A new (height_px, width_px, 3) uint8 frame with the picture in the middle; keeps the aspect ratio.

    Args:
        picture: (H, W, 3) uint8, B,G,R.
        name: the picture's source, for the error.
    Raises:
        CameraError: a side shorter than 16 px, or no colour picture.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise CameraError(
            Text("detail.not_a_colour_frame", name=name, shape=picture.shape, dtype=picture.dtype)
        )
    high, wide = picture.shape[:2]
    if min(high, wide) < _MIN_SIDE_PX:
        why = Text("detail.picture_too_small", name=name, wide=wide, high=high)
        raise CameraError(why, fix=Text("fix.use_larger_picture"))
    scale = min(width_px / wide, height_px / high)
    inner = max(1, round(wide * scale)), max(1, round(high * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    frame = np.zeros((height_px, width_px, 3), np.uint8)
    left, top = (width_px - inner[0]) // 2, (height_px - inner[1]) // 2
    part = frame[top : top + inner[1], left : left + inner[0]]
    part[:] = cv2.resize(picture, inner, interpolation=method) if scale != 1 else picture
    return frame
