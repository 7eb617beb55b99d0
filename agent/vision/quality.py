"""How usable a face is: named measures, each 0–100, higher is better. Pure functions.

The names follow ISO/IEC 29794-5 (InterEyeDistance, Sharpness, Under/OverExposurePrevention, HeadPoseYaw);
no conformance is claimed. The scales were set on the shipped photographs, see tests/vision/test_quality.py.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.geometry import yaw_ratio
from agent.core.model import Box, Detection, Landmarks, Point, Quality

Gray = NDArray[np.uint8]
Pixels = NDArray[np.uint8]

_FULL_EYE_DISTANCE_PX = 80.0  # beyond, more pixels tell the recogniser nothing new
_FULL_FACE_HEIGHT_PX = 200.0
_NORMAL_WIDTH_PX = 112  # what the recogniser sees of a face: finer detail is lost on it anyway
_SMOOTH_PX = 1.0
_HALF_SHARP = 0.0006  # the Laplacian energy that scores 50
_DARK, _LIT = 15.0, 95.0  # 90th percentile of luma: no light on the face, enough light on it
_CLIPPED = 250  # luma from which a pixel holds no detail
_MAX_CLIPPED = 0.4  # share of clipped pixels that scores 0
_MAX_YAW = 0.6  # nose offset over eye distance that scores 0, about 40 degrees


def measure(bgr: Pixels, face: Detection) -> Quality:
    """All measures of one face.

    Args:
        bgr: (H, W, 3) uint8, the full-size frame.
        face: in the frame's pixels; may reach beyond its edge.
    Returns:
        All zero when no pixel of the face lies inside the frame.
    """
    gray = face_gray(bgr, face.box)
    if gray.size == 0:
        return Quality(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    parts = (
        size(face.landmarks, face.box),
        sharpness(gray),
        min(under_exposure(gray), over_exposure(gray)),
        yaw(face.landmarks),
    )
    return Quality(*parts, score(*parts), float(gray.mean()) / 2.55)


def face_gray(bgr: Pixels, box: Box) -> Gray:
    """Luma of the face box at the recogniser's size, so that measures compare across distances.

    Returns:
        (h, w) uint8, w = 112 for a large face, its own width for a smaller one (never enlarged);
        (0, 0) when the box lies outside the frame or is thinner than 3 px there.
    """
    high, wide = bgr.shape[:2]
    left, top = max(0, math.floor(box.x_px)), max(0, math.floor(box.y_px))
    right = min(wide, math.ceil(box.x_px + box.width_px))
    bottom = min(high, math.ceil(box.y_px + box.height_px))
    if right - left < 3 or bottom - top < 3:
        return np.empty((0, 0), np.uint8)
    part = bgr[top:bottom, left:right]
    if right - left > _NORMAL_WIDTH_PX:
        scale = _NORMAL_WIDTH_PX / (right - left)
        target = (_NORMAL_WIDTH_PX, max(3, round((bottom - top) * scale)))
        part = cv2.resize(part, target, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return cv2.cvtColor(part, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)


def size(landmarks: Landmarks, box: Box) -> float:
    """How large a face is: the smaller of eye distance over 80 px and face height over 200 px."""
    share = min(
        _distance(landmarks.right_eye, landmarks.left_eye) / _FULL_EYE_DISTANCE_PX,
        box.height_px / _FULL_FACE_HEIGHT_PX,
    )
    return _percent(share)


def sharpness(gray: Gray) -> float:
    """How sharp a face looks: mean square of the Laplacian over the mean square of brightness.

    The picture is smoothed a little first, or a sensor's noise in a dark picture would look like detail.

    Args:
        gray: (H, W) uint8, the face box only (a crisp shelf behind a blurred face must not count), H and
            W >= 3, see ``face_gray`` for its size.
    Returns:
        0–100, 50 at a ratio of 0.0006; unchanged by a gain on all pixels; 0 for a flat or black picture.
    Raises:
        ValueError: not two-dimensional, or smaller than 3 × 3.
    """
    if gray.ndim != 2 or min(gray.shape) < 3:
        raise ValueError(f"expected a gray picture of at least 3 × 3, got {gray.shape}")
    levels = gray.astype(np.float32)
    brightness = float(np.mean(levels * levels))
    if brightness == 0.0:
        return 0.0
    detail = cv2.Laplacian(cv2.GaussianBlur(levels, (0, 0), _SMOOTH_PX), cv2.CV_32F)[1:-1, 1:-1]
    ratio = float(np.mean(detail * detail)) / brightness
    return _percent(ratio / (ratio + _HALF_SHARP))


def under_exposure(gray: Gray) -> float:
    """Freedom from under-exposure: 100 from a 90th percentile of 95 up, 0 at 15 (luma 0–255).

    The bright tenth of a face is lit skin whatever its colour, which the mean is not: a mean would call dark
    skin badly lit. Empty input scores 0.
    """
    if gray.size == 0:
        return 0.0
    return _percent((float(np.percentile(gray, 90)) - _DARK) / (_LIT - _DARK))


def over_exposure(gray: Gray) -> float:
    """Freedom from over-exposure: 100 with no clipped pixel (luma >= 250), 0 with 40 % of them; empty: 0."""
    if gray.size == 0:
        return 0.0
    return _percent(1.0 - float(np.mean(gray >= _CLIPPED)) / _MAX_CLIPPED)


def yaw(landmarks: Landmarks) -> float:
    """How frontal a face is: 100 with the nose midway between the eyes, 0 at 0.6 eye distances off.

    The offset is taken along the line of the eyes, so a rolled head is no turned head. Eyes in one place (or
    a NaN anywhere) score 0.
    """
    return _percent(1.0 - abs(yaw_ratio(landmarks)) / _MAX_YAW)


def score(size: float, sharpness: float, exposure: float, yaw: float) -> float:
    """One number for "which shot is best": the geometric mean, so no bad measure can be bought off."""
    product = size * sharpness * exposure * yaw
    return _percent(product**0.25 / 100.0 if product > 0.0 else 0.0)


def _distance(a: Point, b: Point) -> float:
    return math.hypot(a.x_px - b.x_px, a.y_px - b.y_px)


def _percent(share: float) -> float:
    """0–1 as 0–100, clamped; NaN is 0: what cannot be measured is not good."""
    return 0.0 if math.isnan(share) else 100.0 * min(1.0, max(0.0, share))
