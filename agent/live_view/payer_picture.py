"""The picture for the payer's screen: mirrored, sharp inside an oval, unrecognisable outside. Pure.

Each pixel outside the oval is replaced before the JPEG is encoded, so that no bystander beside the payer
leaves the process. A payer who stands beside the oval still sees a shape that moves: the replacement is a
mean of a coarse cell, darkened.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import Frame
from agent.core.policy import PolicyLimits
from agent.live_view.annotate import checked_pixels, jpeg_of

Pixels = NDArray[np.uint8]

SIDE_PX = 480
# Half axes of the oval, in shares of the side. The page's script draws its ring with the same numbers.
OVAL_WIDTH, OVAL_HEIGHT = 0.32, 0.42
CELLS = 12  # per side: a face beside the oval is two or three cells wide
_DIM = 0.45
_JPEG_QUALITY = 72


def payer_picture(frame: Frame, limits: PolicyLimits) -> bytes:
    """A JPEG of ``SIDE_PX`` × ``SIDE_PX``: the square around the middle of the payer zone.

    Args:
        frame: ``pixels`` (H, W, 3) uint8, B,G,R, at least 64 × 64; not changed.
        limits: the payer zone.
    Raises:
        ImageError: the frame contains no picture.
    """
    pixels = checked_pixels(frame.pixels, "detail.frame_too_small_payer")
    return jpeg_of(masked(_square(pixels, limits)), _JPEG_QUALITY)


def masked(square: Pixels) -> Pixels:
    """The mirrored square at ``SIDE_PX``; outside the oval only the means of ``CELLS`` × ``CELLS`` cells.

    ``square``: (n, n, 3) uint8. Returns a new array.
    """
    size = (SIDE_PX, SIDE_PX)
    mirrored = cv2.flip(cv2.resize(square, size, interpolation=_interpolation(square)), 1)
    cells = cv2.resize(mirrored, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    cells = cv2.convertScaleAbs(cells, alpha=_DIM)
    outside = cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.copyTo(mirrored, oval_mask(), outside), np.uint8)


@lru_cache(maxsize=1)
def oval_mask() -> Pixels:
    """(SIDE_PX, SIDE_PX) uint8: 255 inside the oval, 0 outside."""
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    axes = round(SIDE_PX * OVAL_WIDTH), round(SIDE_PX * OVAL_HEIGHT)
    cv2.ellipse(mask, (SIDE_PX // 2, SIDE_PX // 2), axes, 0, 0, 360, 255, cv2.FILLED)
    return mask


def _interpolation(square: Pixels) -> int:
    return cv2.INTER_AREA if square.shape[0] > SIDE_PX else cv2.INTER_LINEAR


def _square(pixels: Pixels, limits: PolicyLimits) -> Pixels:
    """The largest square of the frame, around the middle of the payer zone; shifted into the frame."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    left = _start((limits.zone_left + limits.zone_right) / 2 * width, side, width)
    top = _start((limits.zone_top + limits.zone_bottom) / 2 * height, side, height)
    return pixels[top : top + side, left : left + side]


def _start(middle_px: float, side: int, length: int) -> int:
    return min(max(0, round(middle_px - side / 2)), length - side)
