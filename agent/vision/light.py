"""How well a face is lit: named measures, each 0–100, higher is better. Pure functions.

Those that only ask how often each luma occurs read one histogram, made once a face.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.scale import percent

Gray = NDArray[np.uint8]
Levels = NDArray[np.intp]  # (256,): how many pixels have each luma

_LIT_SHARE = 0.9  # the luma that this share of the face does not exceed tells how well it is lit
_DARK, _LIT = 15.0, 95.0  # that luma: no light on the face, enough light on it
_CLIPPED = 250  # luma from which a pixel holds no detail
_MAX_CLIPPED = 0.4  # share of clipped pixels that scores 0
_FLAT_BITS, _FULL_BITS = 3.0, 7.0  # entropy of the luma: a face in fog, a face in good light


def luma_levels(gray: Gray) -> Levels:
    """The histogram of a gray picture: (256,) counts; all zero for an empty one."""
    return np.bincount(gray.ravel(), minlength=256)


def under_exposure_prevention(levels: Levels) -> float:
    """Freedom from under-exposure: 100 from a 90th percentile of 95 up, 0 at 15 (luma 0–255).

    The bright tenth of a face is lit skin whatever its colour, which the mean is not: a mean would call dark
    skin badly lit. No pixels score 0.
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

    Whatever merges grey levels (fog, clipping, too little light) lowers it; nothing done to a picture pixel
    by pixel can raise it.
    """
    counts = levels[levels > 0]
    total = int(counts.sum())
    if total == 0:
        return 0.0
    shares = counts / total
    bits = -float(np.dot(shares, np.log2(shares)))
    return percent((bits - _FLAT_BITS) / (_FULL_BITS - _FLAT_BITS))


def illumination_uniformity(gray: Gray) -> float:
    """How evenly a face is lit from left to right: the darker half's mean luma over the brighter half's.

    The standard compares the halves' histograms instead; two means say the same of light from one side and
    change in one direction only. Fewer than two columns, or black, scores 0.
    """
    half = gray.shape[1] // 2 if gray.ndim == 2 else 0
    if half == 0 or gray.shape[0] == 0:
        return 0.0
    left, right = cv2.mean(gray[:, :half])[0], cv2.mean(gray[:, -half:])[0]
    return percent(min(left, right) / max(left, right) if max(left, right) > 0.0 else 0.0)
