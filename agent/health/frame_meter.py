"""Camera measurements from the handled frames: rate, age, brightness. Pure: the time is an argument."""

from __future__ import annotations

from collections import deque
from typing import Any

from agent.core.model import CameraHealth, Frame

_WINDOW = 30  # frames
_STALE_MS = 2_000  # an older rate is no longer valid


class FrameMeter:
    """Counts frames and stores numbers only, no pixels."""

    def __init__(self) -> None:
        self._timestamps: deque[tuple[int, int]] = deque(maxlen=_WINDOW)  # (seq, captured_ms)
        self._mean_luma = 0.0

    def count(self, frame: Frame, health: CameraHealth) -> None:
        self._mean_luma = health.mean_luma
        self._timestamps.append((frame.seq, frame.captured_ms))

    def facts(self, now_ms: int) -> dict[str, Any]:
        """``fps`` of the camera (dropped frames included), ``frame_age_ms``, ``mean_luma`` 0–255.

        Age and brightness are None before the first frame; the rate is 0.0 without two recent ones.
        """
        if not self._timestamps:
            return {"fps": 0.0, "frame_age_ms": None, "mean_luma": None}
        (first, began_ms), (last, ended_ms) = self._timestamps[0], self._timestamps[-1]
        age_ms = now_ms - ended_ms
        spent_ms = ended_ms - began_ms
        fps = (last - first) * 1e3 / spent_ms if spent_ms > 0 and age_ms < _STALE_MS else 0.0
        return {"fps": round(fps, 1), "frame_age_ms": age_ms, "mean_luma": round(self._mean_luma)}
