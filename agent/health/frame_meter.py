"""Meters of the handled frames: rate, age and brightness; faults of the view. Pure: no clock."""

from collections import Counter, deque
from typing import Any

from agent.core.model import CameraHealth, Frame
from agent.core.reasons import FrameReason, Reason
from agent.health.condition import FORGET_MS, Condition
from agent.health.conditions_camera import (
    CAMERA_BLURRED,
    CAMERA_FACES_UNUSABLE,
    CAMERA_NO_FACE,
    CAMERA_TOO_FAR,
)
from agent.texts import Text

_WINDOW = 30  # frames
_STALE_MS = 2_000  # an older rate is no longer valid
VERIFICATIONS_MIN = 3
_SHARE_MIN = 0.5  # of the frames of a scene that is not empty
_CAUSES = {
    FrameReason.BLURRED: CAMERA_BLURRED,
    FrameReason.TOO_SMALL: CAMERA_TOO_FAR,
    FrameReason.NO_FACE: CAMERA_NO_FACE,
}  # each other reason of an unusable face: CAMERA_FACES_UNUSABLE
_EMPTY = (FrameReason.IDLE, FrameReason.NO_PRESENCE)
_USABLE = (FrameReason.SHOT, FrameReason.FOLLOWED)
_ENDED_BY_VIEW = frozenset(
    {
        Reason.NO_FACE,
        Reason.MULTIPLE_FACES,
        Reason.FACE_UNUSABLE,
        Reason.FACE_LOST,
        Reason.TIMED_OUT,
        Reason.LIVENESS_NOT_COMPLETED,
    }
)


class FrameMeter:
    """Counts frames and stores numbers only, no pixels."""

    def __init__(self) -> None:
        self._timestamps: deque[tuple[int, int]] = deque(maxlen=_WINDOW)  # (seq, captured_ms)
        self._mean_luma = 0.0

    def add_frame(self, frame: Frame, health: CameraHealth) -> None:
        """Count one frame; ``health``: of its brightness check."""
        self._mean_luma = health.mean_luma
        self._timestamps.append((frame.seq, frame.captured_ms))

    def facts(self, now_ms: int) -> dict[str, Any]:
        """``fps`` of the camera (dropped frames included), ``frame_age_ms``, ``mean_luma`` 0–255.

        Age and brightness are None before the first frame; the rate is 0.0 without two recent ones.
        """
        if not self._timestamps:
            return {"fps": 0.0, "frame_age_ms": None, "mean_luma": None}
        (first_seq, first_ms), (last_seq, last_ms) = self._timestamps[0], self._timestamps[-1]
        age_ms = now_ms - last_ms
        period_ms = last_ms - first_ms
        fps = (last_seq - first_seq) * 1e3 / period_ms if period_ms > 0 and age_ms < _STALE_MS else 0.0
        return {"fps": round(fps, 1), "frame_age_ms": age_ms, "mean_luma": round(self._mean_luma)}


class ViewMeter:
    """Detects a fault of the view: several verifications in a row without a usable face.

    The causes are the lens, the place of the camera, the light, and a picture of a face in the view. One
    payer can move or stand too far away, so the fault needs ``VERIFICATIONS_MIN`` verifications with the same
    main reason. A usable frame ends it, and so does ``FORGET_MS`` without a further such verification.
    """

    def __init__(self) -> None:
        self._reason: FrameReason | None = None
        self._same_reason_count = 0
        self._newest_ms = 0

    def add(self, frames: Counter[FrameReason], ended_by: Reason, now_ms: int) -> None:
        """Add the frames of one verification and the reason of its end.

        A verification that another reason ended, e.g. a cancel after a moment, can end a fault and is none.
        """
        counts = Counter({reason: count for reason, count in frames.items() if reason not in _EMPTY})
        if counts:  # an empty scene shows nothing about the view
            reason, count = counts.most_common(1)[0]
            is_fault = count >= _SHARE_MIN * counts.total()
            if any(counts[usable] for usable in _USABLE) or not is_fault:
                self._reason, self._same_reason_count = None, 0
            elif ended_by in _ENDED_BY_VIEW:
                self._same_reason_count = self._same_reason_count + 1 if reason is self._reason else 1
                self._reason, self._newest_ms = reason, now_ms

    def fault(self, now_ms: int) -> Condition | None:
        """The present fault of the view; None: no known fault."""
        is_old = now_ms - self._newest_ms >= FORGET_MS
        if self._reason is None or is_old or self._same_reason_count < VERIFICATIONS_MIN:
            return None
        return _CAUSES.get(self._reason, CAMERA_FACES_UNUSABLE)

    @property
    def detail(self) -> str | Text:
        """The main reason of the newest verifications; empty where a condition of its own names it."""
        reason = self._reason
        if reason is None or reason in _CAUSES:
            return ""
        return Text("detail.at", place=reason, reason=Text(f"frame.{reason}"))
