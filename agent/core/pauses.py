"""Detects a pause of this process (SIGSTOP, suspend, a blocked loop) from a periodic beat. Pure.

During a pause, messages wait in the socket, and no clock measures how long.
"""

BEAT_MS = 250  # period of the beat
PAUSE_MIN_MS = 1_000  # a beat that is older shows a pause
DRAIN_MS = 3_000  # after a pause: time in which the waiting messages are read


class PauseDetector:
    """Times are on the boot clock, which includes suspend.

    A message can be handled before or after the first beat that follows a pause, so both detect the pause.
    """

    def __init__(self, now_ms: int) -> None:
        self._beat_ms = now_ms
        self._ended_ms: int | None = None
        self._longest_ms = 0  # of the pauses within ``DRAIN_MS``

    def record_beat(self, now_ms: int) -> None:
        """Record that the loop runs. To be called every ``BEAT_MS``."""
        self.waited_ms(now_ms)
        self._beat_ms = now_ms

    def waited_ms(self, now_ms: int) -> int:
        """The length of the pause in which a message that is handled now may have waited; 0: no pause."""
        if self._ended_ms is not None and now_ms - self._ended_ms > DRAIN_MS:
            self._ended_ms, self._longest_ms = None, 0
        gap_ms = now_ms - self._beat_ms
        if gap_ms > PAUSE_MIN_MS:
            self._ended_ms, self._longest_ms = now_ms, max(self._longest_ms, gap_ms)
        return self._longest_ms
