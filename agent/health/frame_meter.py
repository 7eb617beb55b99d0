"""How the camera does, from the frames that pass by: rate, age, brightness. Pure: time comes as data."""

from __future__ import annotations

from collections import deque
from typing import Any

from agent.core.model import CameraHealth, Frame

_WINDOW = 30  # frames
_STALE_MS = 2_000  # a rate measured before that is no rate any more


class FrameMeter:
    """Counts frames; stores numbers only."""

    def __init__(self) -> None:
        self._moments: deque[tuple[int, int]] = deque(maxlen=_WINDOW)  # (seq, captured_ms)
        self._mean_luma = 0.0

    def count(self, frame: Frame, health: CameraHealth) -> None:
        """Count one frame with the result of its brightness check."""
        self._mean_luma = health.mean_luma
        self._moments.append((frame.seq, frame.captured_ms))

    def facts(self, now_ms: int) -> dict[str, Any]:
        """``fps`` of the camera (frames nobody looked at count), ``frame_age_ms``, ``mean_luma`` 0–255.

        Age and brightness are None before the first frame; the rate is 0.0 without two recent ones.
        """
        if not self._moments:
            return {"fps": 0.0, "frame_age_ms": None, "mean_luma": None}
        (first, began_ms), (last, ended_ms) = self._moments[0], self._moments[-1]
        age_ms = now_ms - ended_ms
        spent_ms = ended_ms - began_ms
        fps = (last - first) * 1e3 / spent_ms if spent_ms > 0 and age_ms < _STALE_MS else 0.0
        return {"fps": round(fps, 1), "frame_age_ms": age_ms, "mean_luma": round(self._mean_luma)}
