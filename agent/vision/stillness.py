"""Stillness of a face: a printed poster never moves, a living head always does.

A region of the frame is compared with itself: the shift of the picture by least squares over its gradient, in
face widths. Landmarks are not precise enough: with the same picture and new sensor noise they move by up to
0.05 eye distances.

Measured (docs/explanation/challenge.md): a print with sensor noise of 2 to 12 levels shifts by at most 0.0019
within ten frames, and by at most 0.0010 up to 8 levels. In films, no head shifted by less than 0.0024 within
3 s. A print that is held in a hand moves.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import Box

Pixels = NDArray[np.uint8]
Patch = NDArray[np.float64]

STILL_MS = 3_000
_MIN_FRAMES = 6  # within STILL_MS: fewer frames can miss a movement
_STILL_MAX_SHIFT = 0.0012  # of the width of the face
_SIDE_PX = 64
_SMOOTH_PX = 1.5
_MIN_SIDE_PX = 16


@dataclass(slots=True)
class _Reference:
    area: tuple[slice, slice]
    shape: tuple[int, ...]
    patch: Patch
    since_ms: int
    frames: int = 1


class Stillness:
    """Stores one small picture of the face until ``begin``."""

    def __init__(self) -> None:
        self._reference: _Reference | None = None

    def begin(self) -> None:
        """Delete the picture."""
        self._reference = None

    def is_still(self, bgr: Pixels, box: Box, at_ms: int) -> bool:
        """Whether this face has not moved for ``STILL_MS``.

        Args:
            bgr: (H, W, 3) uint8, the frame.
            box: of the payer's face; a face elsewhere in the frame starts again.
        """
        reference = self._reference
        if reference is not None and reference.shape == bgr.shape and _is_in(box, reference.area):
            patch = _patch(bgr[reference.area])
            if patch is not None and _shift(reference.patch, patch) <= _STILL_MAX_SHIFT:
                reference.frames += 1
                return reference.frames >= _MIN_FRAMES and at_ms - reference.since_ms >= STILL_MS
        area = _area(box)
        patch = _patch(bgr[area])
        self._reference = None if patch is None else _Reference(area, bgr.shape, patch, at_ms)
        return False


def _area(box: Box) -> tuple[slice, slice]:
    left, top = max(0, int(box.x_px)), max(0, int(box.y_px))
    return slice(top, max(top, int(box.y_px + box.height_px))), slice(
        left, max(left, int(box.x_px + box.width_px))
    )


def _is_in(box: Box, area: tuple[slice, slice]) -> bool:
    rows, columns = area
    middle = box.centre
    return bool(rows.start <= middle.y_px < rows.stop and columns.start <= middle.x_px < columns.stop)


def _patch(bgr: Pixels) -> Patch | None:
    """(64, 64): luma of the region with mean 0 and deviation 1, so that a lamp changes nothing."""
    if min(bgr.shape[:2]) < _MIN_SIDE_PX:
        return None
    luma = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(luma, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float64)
    smooth = cv2.GaussianBlur(small, (0, 0), _SMOOTH_PX)
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1.0), np.float64)


def _shift(earlier: Patch, later: Patch) -> float:
    """The shift between two patches, in face widths; infinite for a picture without detail."""
    gradient_y, gradient_x = np.gradient(earlier)
    change = earlier - later
    xx, xy, yy = (
        float((gradient_x * gradient_x).sum()),
        float((gradient_x * gradient_y).sum()),
        float((gradient_y * gradient_y).sum()),
    )
    x, y = float((gradient_x * change).sum()), float((gradient_y * change).sum())
    determinant = xx * yy - xy * xy
    if determinant <= 0.0:
        return float("inf")
    return float(np.hypot((x * yy - y * xy) / determinant, (y * xx - x * xy) / determinant)) / _SIDE_PX
