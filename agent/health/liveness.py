"""Whether the terminal's pictures live: what the watchdog asks. Pure: time comes as data."""

from __future__ import annotations


class LivenessSignal:
    """It beats while fresh frames arrive or a bounded recovery is under way, and for nothing else.

    A frame that repeats the one before is not fresh. A recovery says by when its step has come to an end;
    what misses that is hung, and whoever should have noticed hangs as well.
    """

    def __init__(self) -> None:
        self._fresh = False  # since the last time somebody asked
        self._until_ms = 0

    def frame(self) -> None:
        """A fresh frame was handled."""
        self._fresh, self._until_ms = True, 0

    def recovering(self, until_ms: int) -> None:
        """A step is under way that ends by then; 0: nothing is done about it."""
        self._until_ms = until_ms

    def beats(self, now_ms: int) -> bool:
        """Asked by the watchdog only: it forgets the frames of before."""
        fresh, self._fresh = self._fresh, False
        return fresh or now_ms < self._until_ms
