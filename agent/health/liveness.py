"""The liveness signal for the watchdog. Pure: the time is an argument."""

from __future__ import annotations


class LivenessSignal:
    """Present while fresh frames arrive or a recovery step with a time limit is active, and only then.

    A frame that repeats the previous frame is not fresh. After the time limit of a recovery step the step
    hangs, and the code that should end the step hangs, too; then systemd must restart the process.
    """

    def __init__(self) -> None:
        self._fresh = False  # since the last poll
        self._until_ms = 0

    def frame(self) -> None:
        self._fresh, self._until_ms = True, 0

    def recovering(self, until_ms: int) -> None:
        """Record an active recovery step and its end; 0: no recovery step."""
        self._until_ms = until_ms

    def poll_liveness(self, now_ms: int) -> bool:
        """Return the signal and reset the record of fresh frames. Only the watchdog may call this."""
        fresh, self._fresh = self._fresh, False
        return fresh or now_ms < self._until_ms
