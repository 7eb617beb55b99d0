"""Measures of the light on a face, each 0–100, higher is better. Pure functions.

Measures that depend only on the frequency of each luma share one histogram per face.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.scale import percent

Gray = NDArray[np.uint8]
Levels = NDArray[np.intp]  # (256,): number of pixels with each luma

_LIT_SHARE = 0.9  # percentile of the luma that measures the light on the face
_DARK, _LIT = 15.0, 95.0  # luma at that percentile without light, and with enough light
_CLIPPED = 250  # luma from which a pixel has no detail
_MAX_CLIPPED = 0.4  # share of clipped pixels that scores 0
_FLAT_BITS, _FULL_BITS = 3.0, 7.0  # entropy of the luma: a face in fog, a face in good light


def luma_levels(gray: Gray) -> Levels:
    """The histogram of a gray picture: (256,) counts; all zero for an empty one."""
    if gray.size == 0:
        return np.zeros(256, np.intp)
    return cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel().astype(np.intp)


def under_exposure_prevention(levels: Levels) -> float:
    """Freedom from under-exposure: 100 from a 90th percentile of 95 up, 0 at 15 (luma 0–255).

    The brightest tenth of a face is lit skin of any colour. A mean would score dark skin as badly lit. No
    pixels score 0.
    """
    total = int(levels.sum())
    if total == 0:
        return 0.0
    lit = int(np.searchsorted(np.cumsum(levels), _LIT_SHARE * total))
    return percent((lit - _DARK) / (_LIT - _DARK))


def over_exposure_prevention(levels: Levels) -> float:
    """Freedom from over-exposure: 100 with no clipped pixel (luma >= 250), 0 with 40 % of them.

    No pixels score 0.
    """
    total = int(levels.sum())
    return percent(1.0 - int(levels[_CLIPPED:].sum()) / total / _MAX_CLIPPED) if total else 0.0


def dynamic_range(levels: Levels) -> float:
    """Contrast: the entropy of the luma, as in the standard; 0 up to 3 bits, 100 from 7. No pixels score 0.

    Everything that merges grey levels (fog, clipping, too little light) lowers the value. No pixel-by-pixel
    change of a picture can raise the value.
    """
    counts = levels[levels > 0]
    total = int(counts.sum())
    if total == 0:
        return 0.0
    shares = counts / total
    bits = -float(np.dot(shares, np.log2(shares)))
    return percent((bits - _FLAT_BITS) / (_FULL_BITS - _FLAT_BITS))


def illumination_uniformity(gray: Gray) -> float:
    """Evenness of the light from left to right: mean luma of the darker half divided by the brighter half.

    The standard compares the histograms of the halves instead. Two means measure light from one side equally
    well and change in one direction only. Fewer than two columns, or a black face, score 0.
    """
    half = gray.shape[1] // 2 if gray.ndim == 2 else 0
    if half == 0 or gray.shape[0] == 0:
        return 0.0
    left, right = cv2.mean(gray[:, :half])[0], cv2.mean(gray[:, -half:])[0]
    return percent(min(left, right) / max(left, right) if max(left, right) > 0.0 else 0.0)
