"""Track numbers by geometry: a number stays while the face moves little and no frame is missing."""

import math
from collections import deque
from statistics import median

from agent.core.model import Box

_MAX_MOVE = 0.6  # of the face's height, between two frames
_MAX_GROWTH = 1.5  # of the face's height, either way, between two frames
# The longest time between two frames of one track, in frame periods: a frame may be late, but not missing.
_MAX_GAP_PERIODS = 1.7
_GAP_LIMIT_MIN_MS = 150  # a lower limit has no benefit: process scheduling causes gaps of this length
_GAP_LIMIT_MAX_MS = 300  # at a lower frame rate another person can appear between two regular frames
_PERIODS_KEPT = 9


class FaceTracker:
    """Numbers the faces of one camera. Numbers only grow and are never reused."""

    def __init__(self) -> None:
        self._track = 0
        self._last_box: Box | None = None
        self._last_ms = 0
        self._frame_ms: int | None = None
        self._periods: deque[int] = deque(maxlen=_PERIODS_KEPT)

    def begin(self) -> None:
        """Delete the face: the next face is new. The measured frame period stays."""
        self._last_box = None
        self._frame_ms = None

    def note_frame(self, captured_ms: int) -> None:
        """Measure the frame period. Called for each frame, with or without a face."""
        if self._frame_ms is not None and captured_ms > self._frame_ms:
            self._periods.append(captured_ms - self._frame_ms)
        self._frame_ms = captured_ms

    @property
    def max_gap_ms(self) -> int:
        """The longest time between two detections of one face on an unbroken track, 150–300 ms.

        Depends on the median of the last frame periods, so that one pause does not change the limit.
        """
        if not self._periods:
            return _GAP_LIMIT_MIN_MS
        return round(min(_GAP_LIMIT_MAX_MS, max(_GAP_LIMIT_MIN_MS, _MAX_GAP_PERIODS * median(self._periods))))

    @property
    def number(self) -> int | None:
        """The track of the last face; None before the first face."""
        return None if self._last_box is None else self._track

    def continues(self, box: Box, at_ms: int) -> bool:
        """Whether a face at this place and time keeps the track unbroken. Changes nothing."""
        near = self._last_box is not None and _is_near(self._last_box, box)
        return near and 0 <= at_ms - self._last_ms <= self.max_gap_ms

    def extend_track(self, box: Box, at_ms: int) -> int:
        """Store the face as the last face of the current track, and return its number."""
        self._last_box, self._last_ms = box, at_ms
        return self._track

    def start_track(self, box: Box, at_ms: int) -> int:
        """Start a new track with this face, and return its number."""
        self._track += 1
        return self.extend_track(box, at_ms)


def _is_near(last_box: Box, box: Box) -> bool:
    larger_px, smaller_px = max(last_box.height_px, box.height_px), min(last_box.height_px, box.height_px)
    moved = math.dist(
        (last_box.centre.x_px, last_box.centre.y_px),
        (box.centre.x_px, box.centre.y_px),
    )
    return moved <= _MAX_MOVE * smaller_px and larger_px <= _MAX_GROWTH * smaller_px
