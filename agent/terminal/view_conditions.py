"""The conditions of the camera's view: they follow from several verifications in a row."""

from collections import Counter

from agent.core.ports import Clock
from agent.core.reasons import FrameReason, Reason
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_camera import VIEW_CONDITIONS
from agent.health.frame_meter import ViewMeter


class ViewConditions:
    """Raises and clears ``VIEW_CONDITIONS``. For the event loop only."""

    def __init__(self, conditions: ConditionTracker, clock: Clock) -> None:
        self._conditions, self._clock, self._meter = conditions, clock, ViewMeter()

    def add(self, frames: Counter[FrameReason], ended_by: Reason) -> None:
        """Add the frames of one verification and the reason of its end."""
        now_ms = self._clock.now_ms()
        self._meter.add(frames, ended_by, now_ms)
        self._conditions.raise_only(self._meter.fault(now_ms), of=VIEW_CONDITIONS, detail=self._meter.detail)

    def clear_old(self) -> None:
        """Clear a condition whose newest verification is too old. To be called at intervals."""
        if self._meter.fault(self._clock.now_ms()) is None:
            self._conditions.clear(*VIEW_CONDITIONS)
