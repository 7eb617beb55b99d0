"""Which pictures of a stream show what is, and which what was. Pure: the time each was waited for is data.

A stream has no clock of ours. After a pause of the network, and right after it was opened, its pictures of
before come in a burst: nobody has to wait for them. Sent for a payer, one of those could show whoever stood
there before him. So from such a moment on pictures are dropped until one had to be waited for again.
"""

from __future__ import annotations

GAP_MS = 500.0  # and at least three periods: so long a wait, and others are waiting behind
MOST_DROPPED = 150  # a sender that never keeps time is believed after that: its delay nobody can tell
_FPS_LEAST, _FPS_MOST, _FPS_USUAL = 5.0, 60.0, 25.0


class LiveEdge:
    """Of one stream that was just opened."""

    def __init__(self, told_fps: float) -> None:
        """``told_fps``: what the stream says of itself; nonsense counts as 25."""
        fps = told_fps if _FPS_LEAST <= told_fps <= _FPS_MOST else _FPS_USUAL
        self._period_ms = 1e3 / fps
        self._is_behind = True
        self._dropped = 0

    def is_live(self, waited_ms: float) -> bool:
        """Whether the picture that was waited for so long is to be used."""
        if waited_ms >= max(GAP_MS, 3 * self._period_ms):
            self._is_behind, self._dropped = True, 0
            return False  # it was under way when the pause began
        if self._is_behind and waited_ms < self._period_ms / 2 and self._dropped < MOST_DROPPED:
            self._dropped += 1
            return False
        self._is_behind = False
        return True
