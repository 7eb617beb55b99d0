"""Is this still the same face? A number that stays only while nothing speaks against it."""

from __future__ import annotations

import math

from agent.core.model import Box

_MAX_GAP_MS = 300  # a blink of the detector; longer, and somebody else may have stepped in
_MAX_MOVE = 0.6  # of the face's height, between two looks
_MAX_GROWTH = 1.5  # of the face's height, either way, between two looks


class Tracker:
    """Numbers the faces it is shown. A jump, a sudden change of size or a gap makes a new number.

    Numbers only grow and are never used again, so an old shot can never pass as the present face.
    """

    def __init__(self) -> None:
        self._track = 0
        self._last: Box | None = None
        self._seen_ms = 0

    def begin(self) -> None:
        """Forget the face: the next one is new."""
        self._last = None

    def continues(self, box: Box, at_ms: int) -> bool:
        """Whether a face seen here and now would keep the number. Changes nothing."""
        return self._last is not None and at_ms - self._seen_ms <= _MAX_GAP_MS and _continues(self._last, box)

    def update(self, box: Box, at_ms: int) -> int:
        """The track number of a face with a finite box, seen at ``at_ms``."""
        if not self.continues(box, at_ms):
            self._track += 1
        self._last = box
        self._seen_ms = at_ms
        return self._track


def _continues(last: Box, box: Box) -> bool:
    high, low = max(last.height_px, box.height_px), min(last.height_px, box.height_px)
    moved = math.dist(
        (last.centre.x_px, last.centre.y_px),
        (box.centre.x_px, box.centre.y_px),
    )
    return moved <= _MAX_MOVE * low and high <= _MAX_GROWTH * low
