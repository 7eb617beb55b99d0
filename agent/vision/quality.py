"""Quality measures of a face, each 0–100, higher is better. Pure functions.

The names follow ISO/IEC 29794-5. The formulas follow the standard only where a docstring states so; no
conformance is claimed. The scales were set on the shipped photos, see tests/vision/test_quality.py.
"""

import math
from dataclasses import replace
from itertools import combinations_with_replacement

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.geometry import LEVEL_PITCH, pitch_ratio, roll, yaw_ratio
from agent.core.model import Box, Detection, Landmarks, Quality
from agent.vision.light import (
    dynamic_range,
    illumination_uniformity,
    luma_levels,
    over_exposure_prevention,
    under_exposure_prevention,
)
from agent.vision.scale import percent

Gray = NDArray[np.uint8]
Pixels = NDArray[np.uint8]
Luma = NDArray[np.float32]
Moments = NDArray[np.float64]

_FULL_EYE_DISTANCE_PX = 80.0  # more pixels do not improve the comparison
_NORMAL_WIDTH_PX = 112  # input width of the face recogniser, which does not use finer detail
_SMOOTH_PX = 1.0
_HALF_SHARP = 0.0006  # the Laplacian energy that scores 50
# Least energy of the second derivative in the direction with the least detail, over brightness; below, the
# score falls under 30 in proportion. Motion blurs one direction only. Measured on 90 frames of 30 people:
# sharp faces at least 0.000103; with a motion of 21 px, 95 % at most 0.000073, also with sensor noise.
_MIN_DIRECTION_ENERGY, _MOTION_SCORE = 0.000085, 30.0
_DIRECTIONS = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)  # double angles: a direction has no sign
# Weights of the derivatives across, down and mixed in each direction: with the double angle t the derivative
# is (across + down) / 2 + (across - down) / 2 * cos t + mixed / 4 * sin t.
_DIRECTION_WEIGHTS = np.stack(
    [(1.0 + np.cos(_DIRECTIONS)) / 2, (1.0 - np.cos(_DIRECTIONS)) / 2, np.sin(_DIRECTIONS) / 4], axis=1
)
_MAX_YAW = 0.6  # nose offset over eye distance that scores 0, about 40 degrees
_FREE_PITCH, _MAX_PITCH = 0.05, 0.35  # nose between eyes and mouth: spread of people, difference of 0
_FULL_MARGIN, _NO_MARGIN = 0.4, -0.1  # of the side of the box: the margin of a crop, a tenth is cut off
_BACKGROUND_SHARE = 0.5  # of the side of the box, on each side: the background
_STRIDE = 8


def measure(bgr: Pixels, face: Detection) -> Quality:
    """All measures of one face.

    Args:
        bgr: (H, W, 3) uint8, the full-size frame.
        face: in pixels of the frame; may extend beyond the edge.
    Returns:
        All zero when no pixel of the face lies inside the frame.
    """
    gray = face_gray(bgr, face.box)
    if gray.size == 0:
        return Quality(*[0.0] * 15)
    levels = luma_levels(gray)
    quality = Quality(
        inter_eye_distance(face.landmarks),
        head_pose_yaw(face.landmarks),
        head_pose_pitch(face.landmarks),
        head_pose_roll(face.landmarks),
        sharpness(gray),
        under_exposure_prevention(levels),
        over_exposure_prevention(levels),
        dynamic_range(levels),
        illumination_uniformity(gray),
        crop_margins(face.box, bgr.shape[1], bgr.shape[0]),
        score=0.0,
        face_luma=float(cv2.mean(gray)[0]) / 2.55,
        background_luma=background_luma(bgr, face.box),
    )
    return replace(quality, score=score(quality))


def face_gray(bgr: Pixels, box: Box) -> Gray:
    """Luma of the face box at the input size of the recogniser, so that measures do not depend on the
    distance.

    Returns:
        (h, w) uint8, w = 112 for a large face, its own width for a smaller one (never enlarged);
        (0, 0) when the box lies outside the frame or is thinner than 3 px there.
    """
    part = bgr[_bounds(bgr, box, 0.0)]
    height, width = part.shape[:2]
    if min(height, width) < 3:
        return np.empty((0, 0), np.uint8)
    gray = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)  # before scaling: one channel is scaled twice as fast
    if width > _NORMAL_WIDTH_PX:
        target = (_NORMAL_WIDTH_PX, max(3, round(height * _NORMAL_WIDTH_PX / width)))
        gray = cv2.resize(gray, target, interpolation=cv2.INTER_AREA)
    return gray.astype(np.uint8, copy=False)


def inter_eye_distance(landmarks: Landmarks) -> float:
    """Size of a face: the eye distance divided by 80 px."""
    right, left = landmarks.right_eye, landmarks.left_eye
    distance_px = math.hypot(left.x_px - right.x_px, left.y_px - right.y_px)
    return percent(distance_px / _FULL_EYE_DISTANCE_PX)


def head_pose_yaw(landmarks: Landmarks) -> float:
    """Frontal pose: 100 with the nose midway between the eyes, 0 with an offset of 0.6 eye distances.

    The offset is measured along the line of the eyes, so roll does not change the value. Eyes at the same
    point, or any NaN, score 0.
    """
    return percent(1.0 - abs(yaw_ratio(landmarks)) / _MAX_YAW)


def head_pose_pitch(landmarks: Landmarks) -> float:
    """Level pose: 100 with the nose at its usual height, 0 far above or below.

    The nose moves towards the mouth when the head is lowered, and towards the eyes when the head is raised.
    The usual position is 0.56 of the way from the eyes to the mouth. People differ by 0.05; a difference of
    0.35 scores 0.
    """
    deviation = abs(pitch_ratio(landmarks) - LEVEL_PITCH)
    return percent((_MAX_PITCH - deviation) / (_MAX_PITCH - _FREE_PITCH))


def head_pose_roll(landmarks: Landmarks) -> float:
    """Upright pose: the squared cosine of the angle of the line of the eyes, as in the standard.

    0 from 90 degrees on.
    """
    angle = roll(landmarks)
    return percent(math.cos(angle) ** 2 if abs(angle) < math.pi / 2 else 0.0)


def sharpness(gray: Gray) -> float:
    """Sharpness: mean square of the Laplacian divided by the mean square of the brightness.

    The picture is smoothed first, because sensor noise in a dark picture would count as detail. A picture
    without detail in one direction is not sharp, whatever its detail in the other directions: that is motion.

    Args:
        gray: (H, W) uint8, H and W >= 3, the face box only: a sharp background must not count. ``face_gray``
            defines the size.
    Returns:
        0–100, 50 at a ratio of 0.0006; unchanged by a gain on all pixels; 0 for a flat or black picture.
    Raises:
        ValueError: not two-dimensional, or smaller than 3 × 3.
    """
    if gray.ndim != 2 or min(gray.shape) < 3:
        raise ValueError(f"expected a gray picture of at least 3 × 3, got {gray.shape}")
    levels = gray.astype(np.float32)
    flat = levels.ravel()
    brightness = float(flat @ flat) / flat.size
    if brightness == 0.0:
        return 0.0
    parts = _second_derivatives(np.asarray(cv2.GaussianBlur(levels, (0, 0), _SMOOTH_PX), np.float32))
    # products of two vectors each: a matrix product of three rows costs five times as much
    xx, xy, xz, yy, yz, zz = (float(one @ other) for one, other in combinations_with_replacement(parts, 2))
    moments = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) / parts[0].size
    ratio = float(moments[0, 0] + moments[1, 1] + 2.0 * moments[0, 1]) / brightness
    weakest = _weakest_energy(moments) / brightness
    return min(percent(ratio / (ratio + _HALF_SHARP)), _MOTION_SCORE * weakest / _MIN_DIRECTION_ENERGY)


def _second_derivatives(smooth: Luma) -> tuple[Luma, Luma, Luma]:
    """Across, down and mixed (4 times too large), without the edge pixels: flat arrays.

    The values of ``cv2.Sobel``, which also computes the edge, so that its result must be copied.
    """
    twice = 2.0 * smooth[1:-1, 1:-1]
    across = smooth[1:-1, 2:] + smooth[1:-1, :-2] - twice
    down = smooth[2:, 1:-1] + smooth[:-2, 1:-1] - twice
    slope = smooth[:, 2:] - smooth[:, :-2]
    return across.ravel(), down.ravel(), (slope[2:] - slope[:-2]).ravel()


def _weakest_energy(moments: Moments) -> float:
    """Mean square of the second derivative in the direction where it is least.

    Args:
        moments: (3, 3), mean products of ``_second_derivatives``.
    """
    return max(0.0, float(((_DIRECTION_WEIGHTS @ moments) * _DIRECTION_WEIGHTS).sum(axis=1).min()))


def crop_margins(box: Box, width_px: int, height_px: int) -> float:
    """Smallest margin between the face box and the edges of the frame.

    100 with 0.4 of the width or height of the box, which is the margin of a crop; 20 for a box at the edge of
    the frame, 0 with a tenth cut off.
    """
    if not (box.width_px > 0 and box.height_px > 0):
        return 0.0
    margins = (
        box.x_px / box.width_px,
        (width_px - box.x_px - box.width_px) / box.width_px,
        box.y_px / box.height_px,
        (height_px - box.y_px - box.height_px) / box.height_px,
    )
    return percent((min(margins) - _NO_MARGIN) / (_FULL_MARGIN - _NO_MARGIN))


def background_luma(bgr: Pixels, box: Box) -> float:
    """Brightness around a face, percent of white: every 8th pixel up to half a box beyond the face box.

    Returns:
        0–100; 50 when no pixel of the frame is around the face.
    """
    outer, inner = _sample(bgr, box, _BACKGROUND_SHARE), _sample(bgr, box, 0.0)
    count = outer.size - inner.size
    return (float(outer.sum()) - float(inner.sum())) / count / 2.55 if count > 0 else 50.0


def score(parts: Quality) -> float:
    """The combined score that ranks shots, 0–100: the geometric mean of framing, sharpness, light and pose.

    Each part is the minimum of its measures. In a geometric mean, good parts do not compensate a bad part.
    """
    framing = min(parts.inter_eye_distance, parts.crop_margins)
    pose = min(parts.head_pose_yaw, parts.head_pose_pitch, parts.head_pose_roll)
    light = min(
        parts.under_exposure_prevention,
        parts.over_exposure_prevention,
        parts.dynamic_range,
        parts.illumination_uniformity,
    )
    product = framing * parts.sharpness * light * pose
    return percent(product**0.25 / 100.0 if product > 0.0 else 0.0)


def _bounds(bgr: Pixels, box: Box, enlarged_by: float) -> tuple[slice, slice]:
    """Rows and columns of the box, grown by a share of its sides and clipped to the frame."""
    height, width = bgr.shape[:2]
    dx, dy = enlarged_by * box.width_px, enlarged_by * box.height_px
    left, top = max(0, math.floor(box.x_px - dx)), max(0, math.floor(box.y_px - dy))
    right = max(left, min(width, math.ceil(box.x_px + box.width_px + dx)))
    bottom = max(top, min(height, math.ceil(box.y_px + box.height_px + dy)))
    return slice(top, bottom), slice(left, right)


def _sample(bgr: Pixels, box: Box, enlarged_by: float) -> Gray:
    """Green of every 8th pixel on the grid of the frame: a larger box contains that of a smaller one."""
    rows, columns = _bounds(bgr, box, enlarged_by)
    first_row, first_column = -rows.start % _STRIDE, -columns.start % _STRIDE
    return bgr[rows, columns][first_row::_STRIDE, first_column::_STRIDE, 1]
