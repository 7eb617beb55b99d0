"""Relief of a turning face: whether the nose leaves its column and its row of the picture.

Paper that is bent around an upright line keeps each column a column: all points of a vertical line of the
print turn by the same angle and stand at the same distance. So one function of the column explains how a
print around a tube moves between two frames, for every shape of the bend. The nose of a head is in front of
the forehead and the lips in the same column, and moves farther when the head turns.

Paper that is bent around a level line keeps each row a straight line: the nose of a print moves as far as the
middle of its cheeks. The nose of a head is in front of its cheeks, too, and moves farther.

Points of the aligned face are followed from frame to frame by optical flow. A cubic function of the column,
with terms for a roll and a tilt, is fitted to the points above and below the nose; a linear function is
fitted to the cheeks beside the nose. The results are the distances of the points of the nose from these
functions, in eye distances. Measurements: docs/explanation/attacks.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.turn_path import TurnPath

Gray = NDArray[np.uint8]
Points = NDArray[np.float32]
Mask = NDArray[np.bool_]
Terms = NDArray[np.float64]
Shifts = NDArray[np.float64]

# From the column, eye distances: prints around a tube had at most 0.036, filmed heads at least 0.090.
MIN_SHIFT = 0.045
# Row over column: 48 prints around a level tube had at most 0.22, turns of filmed heads at least 0.36.
MIN_ROW_SHARE = 0.3
_MIDDLE_PX, _EYES_PX = (56.0, 72.0), 35.0  # nose and eye distance in an aligned face (``embedding.align``)
_STEP_PX = 3  # between two followed points
_WINDOW_PX = 9  # a larger window mixes the nose with the cheeks
_BLUR_PX = 0.7
_MAX_RETURN_PX = 1.0  # a point that is followed there and back may miss its origin by this distance
_MIN_FOLLOWED_SHARE = 0.5  # of the points of nose and bands that must be followed to the end
_MIN_FOLLOWED_CHEEK = 0.25  # the same for each cheek: a turning head hides one of them
_ERROR_SCALE_MIN = 0.01  # eye distances: scale of the errors in the robust fit
_FIT_ROUNDS = 4
_FLOW = {"winSize": (_WINDOW_PX, _WINDOW_PX), "maxLevel": 2, "criteria": (3, 15, 0.02)}


@dataclass(frozen=True, slots=True)
class _Rule:
    """One function that explains how paper moves."""

    fit_points: Mask  # the points of the fit
    terms: Terms  # of the function at each point
    sides: tuple[Mask, ...]  # groups of these points
    share: float  # of each group that must be followed


def _layout() -> tuple[Points, Mask, _Rule, _Rule]:
    """(points in pixels, which of them are on the nose, the rule of columns, the rule of rows)."""
    columns, rows = np.meshgrid(np.arange(30, 83, _STEP_PX), np.arange(36, 101, _STEP_PX))
    points = np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float32)
    x, y = ((points - _MIDDLE_PX) / _EYES_PX).astype(np.float64).T
    nose = (np.abs(x) < 0.17) & (np.abs(y) < 0.15)
    bands = (np.abs(y) > 0.55) & (np.abs(x) < 0.66)
    cheeks = (np.abs(y) < 0.22) & (np.abs(x) > 0.3) & (np.abs(x) < 0.7)
    used = nose | bands | cheeks
    x, y, bands, cheeks = x[used], y[used], bands[used], cheeks[used]
    column_terms = np.stack([np.ones_like(x), x, x**2, x**3, y, x * y], 1)
    row_terms = np.stack([np.ones_like(x), x, y, x * y], 1)
    sides = cheeks & (x < 0), cheeks & (x > 0)
    return (
        points[used],
        nose[used],
        _Rule(bands, column_terms, (bands,), _MIN_FOLLOWED_SHARE),
        _Rule(cheeks, row_terms, sides, _MIN_FOLLOWED_CHEEK),
    )


POINTS, _NOSE, _COLUMNS, _ROWS = _layout()
BANDS = _COLUMNS.fit_points  # above and below the nose: forehead and mouth
BAND_TERMS = _ROWS.terms[BANDS][:, :3]  # 1, column and row, eye distances


def has_relief(path: TurnPath) -> bool:
    """Whether the nose leaves its column and its row to the prompted side, in two consecutive frames.

    False also for a path with fewer than three faces, and where too few points can be followed.
    """
    sign = 1.0 if path.is_left else -1.0
    leaves = (_leaves_column_and_row(sign, shifts, followed) for shifts, followed in _shifts(path.faces))
    return any(earlier and later for earlier, later in pairwise(leaves))


def follow_points(faces: Sequence[object]) -> Iterator[tuple[Points, Mask]]:
    """Of each face after the first: (the places of ``POINTS`` in it, px; which of them were followed)."""
    grays = [_gray(face) for face in faces if isinstance(face, np.ndarray)]
    points, followed = POINTS, np.ones(len(POINTS), np.bool_)
    for earlier, later in pairwise(grays):
        points, followed_here = _follow(earlier, later, points)
        followed = followed & followed_here
        yield points, followed


def robust_fit(terms: Terms, values: Shifts, floor: float) -> Shifts:
    """The factors of the terms by least squares, with less weight for points that do not fit.

    ``floor``: the least scale of the errors, in the unit of ``values``.
    """
    weights = np.ones(len(values))
    factors = np.zeros(terms.shape[1], np.float64)
    for _ in range(_FIT_ROUNDS):
        weighted = terms * weights[:, None]
        factors = np.asarray(np.linalg.lstsq(weighted, values * weights, rcond=None)[0], np.float64)
        errors = np.abs(values - terms @ factors)
        scale = max(1.48 * float(np.median(errors)), floor)
        weights = np.sqrt(1.0 / (1.0 + (errors / (2.0 * scale)) ** 2))
    return factors


def _leaves_column_and_row(sign: float, shifts: Shifts, followed: Mask) -> bool:
    """One frame. False for a shift that cannot be measured: NaN fails each comparison."""
    from_column = sign * _nose_shift(_COLUMNS, shifts, followed)
    from_row = sign * _nose_shift(_ROWS, shifts, followed)
    return from_column >= MIN_SHIFT and from_row >= MIN_ROW_SHARE * from_column


def _shifts(faces: Sequence[object]) -> Iterator[tuple[Shifts, Mask]]:
    """Of each face after the first: (the way of each point to the right, which of them were followed)."""
    for points, followed in follow_points(faces):
        yield (points[:, 0] - POINTS[:, 0]).astype(np.float64) / _EYES_PX, followed


def _gray(face: Gray) -> Gray:
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), (0, 0), _BLUR_PX), np.uint8)


def _follow(earlier: Gray, later: Gray, points: Points) -> tuple[Points, Mask]:
    """(the points in the next face, which of them were followed there and back)."""
    there, found, _ = cv2.calcOpticalFlowPyrLK(earlier, later, points, None, **_FLOW)  # type: ignore[call-overload]
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(later, earlier, there, None, **_FLOW)  # type: ignore[call-overload]
    near = np.linalg.norm(back - points, axis=1) < _MAX_RETURN_PX
    return there, (found.ravel() == 1) & (found_back.ravel() == 1) & near


def _nose_shift(rule: _Rule, shifts: Shifts, followed: Mask) -> float:
    """Median distance of the nose from the function of the other points, in eye distances; or NaN."""
    fit_points, nose = followed & rule.fit_points, followed & _NOSE
    if nose.sum() < _MIN_FOLLOWED_SHARE * _NOSE.sum():
        return float("nan")
    if any((followed & side).sum() < rule.share * side.sum() for side in rule.sides):
        return float("nan")
    factors = robust_fit(rule.terms[fit_points], shifts[fit_points], _ERROR_SCALE_MIN)
    return float(np.median(shifts[nose] - rule.terms[nose] @ factors))
