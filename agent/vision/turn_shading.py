"""Light on a turning head: whether the side that turns away from the camera becomes darker.

The light of a room does not turn with the head. The brightness of a point of the face depends on the
direction of the surface there, for any number of lamps from any side. The logarithm of the brightness bends
down as a function of that direction. So on a head that turns to the left, the left side always loses
brightness against the right side. A photograph that a program bends and turns on a screen carries its light
along: nothing changes.

The light must come from a direction. Under lamps that shine equally from all sides, a living head changes as
little as a photograph, so this check is off by default. Measurements: docs/explanation/attacks.md.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.turn_path import TurnPath
from agent.vision.turn_relief import BAND_TERMS, BANDS, POINTS, Points, follow_points, robust_fit

Luma = NDArray[np.float32]

# Of the logarithm of the brightness, for each eye distance to the prompted side. 41 turns of filmed heads had
# at least 0.019, 48 turns of photographs on a mesh at most 0.017.
MIN_CHANGE = 0.018
_SMOOTH_PX = 2.5  # hides the noise of the sensor, and most of the texture
_DARK_LUMA = 4.0  # added to the luma, so that noise in a black picture is no light
_MIN_POINTS = 16
_ERROR_SCALE_MIN = 0.005  # of the logarithm: scale of the errors in the robust fit


def changes_light(path: TurnPath) -> bool:
    """Whether the light on the face changes as on a head, in two consecutive frames of the turn.

    False also for a path with fewer than three faces, and where too few points can be followed.
    """
    sign = -1.0 if path.is_left else 1.0
    changes = [sign * change for change in _luma_changes(path.faces)]
    return any(earlier >= MIN_CHANGE and later >= MIN_CHANGE for earlier, later in pairwise(changes))


def _luma_changes(faces: Sequence[object]) -> list[float]:
    """Of each face after the first: change of the logarithm of the luma per eye distance to the right.

    NaN where too few points were followed.
    """
    pictures = [face for face in faces if isinstance(face, np.ndarray)]
    changes, first_luma = list[float](), None
    for picture, (points, followed) in zip(pictures[1:], follow_points(pictures), strict=True):
        first_luma = _luma_at(pictures[0], POINTS) if first_luma is None else first_luma
        used = followed[BANDS]
        if used.sum() < _MIN_POINTS:
            changes.append(float("nan"))
            continue
        change = (_luma_at(picture, points) - first_luma)[used].astype(np.float64)
        changes.append(float(robust_fit(BAND_TERMS[used], change, _ERROR_SCALE_MIN)[1]))
    return changes


def _luma_at(face: NDArray[np.uint8], points: Points) -> Luma:
    """The logarithm of the smoothed luma at the points of the forehead and the mouth."""
    luma = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(luma, (0, 0), _SMOOTH_PX)
    columns, rows = points[BANDS].T
    values = cv2.remap(smooth, columns.copy(), rows.copy(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.log(np.asarray(values, np.float32).ravel() + _DARK_LUMA), np.float32)
