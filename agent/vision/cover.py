"""Covered eyes or a covered mouth, from an aligned face (``embedding.align``). Pure functions.

A mouth has edges across the face: the line between the lips, the lips, teeth or a beard. A mask, a hand or a
telephone in front of the mouth has weaker ones. Eyes have a bright part; dark lenses have none. The names
follow ISO/IEC 29794-5, the formulas do not. The limits were set on the photographs and films of the benchmark
and on covers that were drawn on them; real masks and glasses were not measured (docs/explanation/seeing.md).
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.judgement import Judgement
from agent.core.model import Quality
from agent.core.policy import PolicyLimits, is_covered
from agent.core.reasons import FrameReason
from agent.vision.scale import percent

Pixels = NDArray[np.uint8]
Luma = NDArray[np.float32]

_TOP_PX, _LEFT_PX = 40, 22  # of the part that is used: only its pixels are smoothed
_BOTTOM_PX, _RIGHT_PX = 106, 90
_SMOOTH_PX = 1.0


def _region(left_px: int, right_px: int, top_px: int, bottom_px: int) -> tuple[slice, slice]:
    """Rows and columns of the used part, for pixels of the aligned face."""
    return slice(top_px - _TOP_PX, bottom_px - _TOP_PX), slice(left_px - _LEFT_PX, right_px - _LEFT_PX)


_EYES = _region(31, 46, 48, 57), _region(67, 82, 48, 57)
_LIDS = _region(28, 48, 44, 60), _region(64, 84, 44, 60)
_CHEEKS = _region(28, 40, 68, 76), _region(72, 84, 68, 76)
_MOUTH, _CHIN = _region(42, 70, 84, 102), _region(40, 72, 84, 104)
# Values that score 50. A face is covered when all values of a part are below these.
_HALF_MOUTH = 0.049  # gradient of the mouth over the brightness around it; uncovered: at least 0.058
_HALF_RATIO = 0.5  # gradient of the mouth over that of the eyes; uncovered: at least 0.586
_HALF_BRIGHT = 0.5  # bright part of the brighter eye over the cheeks; uncovered: at least 0.585
_HALF_CONTRAST = 0.273  # contrast within that eye over the cheeks; uncovered: at least 0.321
_DARK_LUMA = 10.0  # added to a divisor, so that noise in a black picture is no edge


def judge_cover(judgement: Judgement, aligned: Pixels, limits: PolicyLimits) -> Judgement:
    """The judgement of a face that passes all other limits, with the two measures.

    Unchanged for another reason than SHOT, and when both limits are 0.
    """
    quality = judgement.quality
    is_off = limits.min_eyes_visible == limits.min_mouth_occlusion_prevention == 0
    if quality is None or judgement.reason is not FrameReason.SHOT or is_off:
        return judgement
    quality = with_cover(quality, aligned)
    reason = FrameReason.COVERED if is_covered(quality, limits) else FrameReason.SHOT
    return replace(judgement, quality=quality, reason=reason)


def with_cover(quality: Quality, aligned: Pixels) -> Quality:
    """The quality with both measures. ``aligned``: (112, 112, 3) uint8."""
    used = aligned[_TOP_PX:_BOTTOM_PX, _LEFT_PX:_RIGHT_PX]
    luma = cv2.cvtColor(used, cv2.COLOR_BGR2GRAY).astype(np.float32)
    luma = np.asarray(cv2.GaussianBlur(luma, (0, 0), _SMOOTH_PX), np.float32)
    edges = np.abs(np.asarray(cv2.Sobel(luma, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8), np.float32))
    return replace(
        quality,
        eyes_visible=_eyes_visible(luma),
        mouth_occlusion_prevention=_mouth_occlusion_prevention(luma, edges),
    )


def _eyes_visible(luma: Luma) -> float:
    """0–100, 50 at the limit: how bright and how rich in contrast the brighter eye is."""
    (cheeks,) = _quantiles(_joined(luma, _CHEEKS), 0.5)
    eyes = [_quantiles(luma[eye].ravel(), 0.05, 0.9, 0.95) for eye in _EYES]
    bright = max(high for _, high, _ in eyes) / (cheeks + 1.0)
    contrast = max(highest - low for low, _, highest in eyes) / (cheeks + 1.0)
    return percent(max(bright / _HALF_BRIGHT, contrast / _HALF_CONTRAST) / 2)


def _mouth_occlusion_prevention(luma: Luma, edges: Luma) -> float:
    """0–100, 50 at the limit: how strong the edges of the mouth are."""
    (mouth,) = _quantiles(edges[_MOUTH].ravel(), 0.9)
    (chin,) = _quantiles(luma[_CHIN].ravel(), 0.5)
    (lids,) = _quantiles(_joined(edges, _LIDS), 0.9)
    near, ratio = mouth / (chin + _DARK_LUMA), mouth / (lids + 0.5)
    return percent(max(near / _HALF_MOUTH, ratio / _HALF_RATIO) / 2)


def _joined(values: Luma, parts: tuple[tuple[slice, slice], ...]) -> Luma:
    return np.concatenate([values[part].ravel() for part in parts])


def _quantiles(values: Luma, *shares: float) -> list[float]:
    """The values at these shares of the sorted values; without interpolation, which would cost more."""
    places = [round(share * (values.size - 1)) for share in shares]
    return [float(value) for value in np.partition(values, places)[places]]
