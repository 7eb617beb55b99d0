"""Faults of the camera's view, from the frames of verifications: no face, blurred faces, small faces. Pure.

One payer can move or stand too far away. So only several verifications in a row without a usable face, all
with the same main reason, show a fault of the lens or of the camera's place.
"""

from __future__ import annotations

from collections import Counter

from agent.core.reasons import FrameReason
from agent.health.condition import Condition
from agent.health.conditions_camera import CAMERA_BLURRED, CAMERA_NO_FACE, CAMERA_TOO_FAR

VERIFICATIONS_MIN = 3
_SHARE_MIN = 0.5  # of the frames of a scene that is not empty
_CAUSES = {
    FrameReason.BLURRED: CAMERA_BLURRED,
    FrameReason.TOO_SMALL: CAMERA_TOO_FAR,
    FrameReason.NO_FACE: CAMERA_NO_FACE,
}
_EMPTY = (FrameReason.IDLE, FrameReason.NO_PRESENCE)
_USABLE = (FrameReason.SHOT, FrameReason.FOLLOWED)


class ViewMeter:
    """Counts the verifications in a row with one main reason against a shot."""

    def __init__(self) -> None:
        self._reason: FrameReason | None = None
        self._in_a_row = 0

    def add(self, frames: Counter[FrameReason]) -> Condition | None:
        """Add the frames of one verification. Returns the present fault of the view; None: no known fault."""
        shown = Counter({reason: count for reason, count in frames.items() if reason not in _EMPTY})
        if shown:  # an empty scene shows nothing about the view
            reason, count = shown.most_common(1)[0]
            is_fault = reason in _CAUSES and count >= _SHARE_MIN * shown.total()
            if any(shown[usable] for usable in _USABLE) or not is_fault:
                self._reason, self._in_a_row = None, 0
            else:
                self._in_a_row = self._in_a_row + 1 if reason is self._reason else 1
                self._reason = reason
        return _CAUSES[self._reason] if self._reason and self._in_a_row >= VERIFICATIONS_MIN else None
