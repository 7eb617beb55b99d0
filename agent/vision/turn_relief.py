"""Relief of a turning face: whether the nose leaves its column of the picture.

Paper that is bent around an upright line keeps each column a column: all points of a vertical line of the
print turn by the same angle and stand at the same distance. So one function of the column explains how a
print around a tube moves between two frames, for every shape of the bend. The nose of a head is in front of
the forehead and the lips in the same column, and moves farther when the head turns. Paper that is bent around
a level line has the same relief as a head: this rule does not stop it.

Points of the aligned face are followed from frame to frame by optical flow. A cubic function of the column,
with terms for a roll and a tilt, is fitted to the points above and below the nose. The result is the distance
of the points of the nose from that function, in eye distances. Measurements: docs/explanation/seeing.md.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.turn_path import TurnPath

Gray = NDArray[np.uint8]
Points = NDArray[np.float32]
Mask = NDArray[np.bool_]

MIN_SHIFT = 0.045  # eye distances; prints around a tube had at most 0.036, filmed heads at least 0.095
_MIDDLE_PX, _EYES_PX = (56.0, 72.0), 35.0  # nose and eye distance in an aligned face (``embedding.align``)
_STEP_PX = 3  # between two followed points
_WINDOW_PX = 9  # a larger window mixes the nose with the cheeks
_BLUR_PX = 0.7
_MAX_RETURN_PX = 1.0  # a point that is followed there and back may miss its origin by this distance
_LEAST_SHARE = 0.5  # of the points of each group that must be followed to the end
_FLOOR = 0.01  # eye distances: scale of the errors in the robust fit
_ROUNDS = 4
_FLOW = {"winSize": (_WINDOW_PX, _WINDOW_PX), "maxLevel": 2, "criteria": (3, 15, 0.02)}


def _layout() -> tuple[Points, Mask, NDArray[np.float64]]:
    """(points in pixels, which of them are on the nose, the terms of the function at each point)."""
    columns, rows = np.meshgrid(np.arange(30, 83, _STEP_PX), np.arange(36, 101, _STEP_PX))
    points = np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float32)
    x, y = ((points - _MIDDLE_PX) / _EYES_PX).astype(np.float64).T
    nose = (np.abs(x) < 0.17) & (np.abs(y) < 0.15)
    around = (np.abs(y) > 0.55) & (np.abs(x) < 0.66)
    used = nose | around
    terms = np.stack([np.ones_like(x), x, x**2, x**3, y, x * y], 1)
    return points[used], nose[used], terms[used]


_POINTS, _NOSE, _TERMS = _layout()


def has_relief(path: TurnPath) -> bool:
    """Whether the nose leaves its column to the prompted side in two consecutive frames of a turn.

    False also for a path with fewer than three faces, and where too few points can be followed.
    """
    sign = 1.0 if path.is_left else -1.0
    shifts = [sign * shift for shift in _shifts(path.faces)]
    return any(one >= MIN_SHIFT and other >= MIN_SHIFT for one, other in pairwise(shifts))


def _shifts(faces: Sequence[object]) -> Iterator[float]:
    """The shift of the nose in each face after the first; positive: to the right of the picture. Or NaN."""
    grays = [_gray(face) for face in faces if isinstance(face, np.ndarray)]
    points, followed = _POINTS, np.ones(len(_POINTS), np.bool_)
    for one, other in pairwise(grays):
        points, found = _follow(one, other, points)
        followed = followed & found
        yield _nose_shift(points, followed)


def _gray(face: Gray) -> Gray:
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), (0, 0), _BLUR_PX), np.uint8)


def _follow(one: Gray, other: Gray, points: Points) -> tuple[Points, Mask]:
    """(the points in the next face, which of them were followed there and back)."""
    there, found, _ = cv2.calcOpticalFlowPyrLK(one, other, points, None, **_FLOW)  # type: ignore[call-overload]
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(other, one, there, None, **_FLOW)  # type: ignore[call-overload]
    near = np.linalg.norm(back - points, axis=1) < _MAX_RETURN_PX
    return there, (found.ravel() == 1) & (found_back.ravel() == 1) & near


def _nose_shift(points: Points, followed: Mask) -> float:
    """Median distance of the nose from the function of the other points, in eye distances; or NaN."""
    around, nose = followed & ~_NOSE, followed & _NOSE
    if around.sum() < _LEAST_SHARE * (~_NOSE).sum() or nose.sum() < _LEAST_SHARE * _NOSE.sum():
        return float("nan")
    moved = (points[:, 0] - _POINTS[:, 0]).astype(np.float64) / _EYES_PX
    weights = np.ones(int(around.sum()))
    factors = np.zeros(_TERMS.shape[1], np.float64)
    for _ in range(_ROUNDS):  # least squares with less weight for points that do not fit
        weighted = _TERMS[around] * weights[:, None]
        factors = np.asarray(np.linalg.lstsq(weighted, moved[around] * weights, rcond=None)[0], np.float64)
        errors = np.abs(moved[around] - _TERMS[around] @ factors)
        scale = max(1.48 * float(np.median(errors)), _FLOOR)
        weights = np.sqrt(1.0 / (1.0 + (errors / (2.0 * scale)) ** 2))
    return float(np.median(moved[nose] - _TERMS[nose] @ factors))
