"""The meter for adjusting lens and lamps: sharpness and light of one frame, without face detection."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.health.probe_results import LensReading
from agent.vision.light import luma_levels
from agent.vision.quality import sharpness

STEPS = 32
_MIDDLE = 0.5  # of each side: the area of a payer's face
_WIDTH_PX = 640  # of the middle: fine enough to show a small turn of the lens, coarse enough to average noise
_DARK, _BRIGHT = 16, 250  # luma: below _DARK and from _BRIGHT on a pixel contains no detail


def measure_lens(pixels: object, metadata: Mapping[str, float] | None = None) -> LensReading:
    """Measure one frame.

    Args:
        pixels: (H, W, 3) uint8, B,G,R, at least 32 × 32; any other value counts as a black picture.
        metadata: the camera's values for this frame, copied to the reading.
    """
    values = dict(metadata or {})
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.ndim != 3
        or pixels.shape[2] != 3
        or min(pixels.shape[:2]) < 32
    ):
        return LensReading(0.0, 0.0, 1.0, 0.0, (1.0, *[0.0] * (STEPS - 1)), values)
    gray = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
    shares = luma_levels(gray) / gray.size
    steps = shares.reshape(STEPS, -1).sum(axis=1)
    return LensReading(
        sharpness(_middle(gray)),
        float(np.dot(np.arange(256), shares)),
        float(shares[:_DARK].sum()),
        float(shares[_BRIGHT:].sum()),
        tuple(float(step) for step in steps),
        values,
    )


def _middle(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = gray.shape
    top, left = round(height * (1 - _MIDDLE) / 2), round(width * (1 - _MIDDLE) / 2)
    part = gray[top : height - top, left : width - left]
    if part.shape[1] <= _WIDTH_PX:
        return part
    size = (_WIDTH_PX, max(3, round(part.shape[0] * _WIDTH_PX / part.shape[1])))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
