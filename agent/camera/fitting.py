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
    picture_height, picture_width = picture.shape[:2]
    if min(picture_height, picture_width) < _MIN_SIDE_PX:
        why = Text("detail.picture_too_small", name=name, wide=picture_width, high=picture_height)
        raise CameraError(why, fix=Text("fix.use_larger_picture"))
    scale = min(width_px / picture_width, height_px / picture_height)
    scaled_size = max(1, round(picture_width * scale)), max(1, round(picture_height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    frame = np.zeros((height_px, width_px, 3), np.uint8)
    left, top = (width_px - scaled_size[0]) // 2, (height_px - scaled_size[1]) // 2
    part = frame[top : top + scaled_size[1], left : left + scaled_size[0]]
    part[:] = cv2.resize(picture, scaled_size, interpolation=method) if scale != 1 else picture
    return frame
