"""A filter that drops the stale frames of a stream. Pure: the time that each frame was waited for is data.

The timestamps of a stream are not on this machine's clock. After a network pause and after opening, a stream
delivers older frames in a burst, without a wait between frames. A stale frame can show an earlier person in
place of the payer. So frames are dropped until a frame is waited for again.
"""

from __future__ import annotations

GAP_MS = 500.0  # and at least three periods: after a wait this long, more frames are queued
MOST_DROPPED = 150  # after this, a sender without a steady rate is used; its delay cannot be measured
_FPS_LEAST, _FPS_MOST, _FPS_USUAL = 5.0, 60.0, 25.0


class LiveEdge:
    """The filter of one newly opened stream."""

    def __init__(self, reported_fps: float) -> None:
        """``reported_fps``: the rate in the stream's own header; outside 5 to 60 it counts as 25."""
        fps = reported_fps if _FPS_LEAST <= reported_fps <= _FPS_MOST else _FPS_USUAL
        self._period_ms = 1e3 / fps
        self._is_behind = True
        self._dropped = 0

    def is_live(self, waited_ms: float) -> bool:
        """Whether to use the frame that took ``waited_ms`` to arrive."""
        if waited_ms >= max(GAP_MS, 3 * self._period_ms):
            self._is_behind, self._dropped = True, 0
            return False  # sent before the pause
        if self._is_behind and waited_ms < self._period_ms / 2 and self._dropped < MOST_DROPPED:
            self._dropped += 1
            return False
        self._is_behind = False
        return True
