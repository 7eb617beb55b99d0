"""Detects the tills that acknowledge no result: their payments end without an answer."""

from collections.abc import Callable
from dataclasses import replace

from agent.core.ports import Clock
from agent.health.till_meter import TillMeter
from agent.till.delivery_rules import PublishHistory

ACCEPTED_MIN = 5  # publishes on one connection, 15 s: a running till acknowledges within seconds

ReportUnacknowledged = Callable[[bool, str], None]
"""``report(active, tills)``: called on the event loop. ``tills``: names and counts; empty at the end."""


class Acknowledgements:
    """Reports tills that acknowledge nothing, and the end of this fault. For the event loop only."""

    def __init__(self, clock: Clock, report: ReportUnacknowledged) -> None:
        self._clock, self._report = clock, report
        self._tills, self._reported = TillMeter(), ""

    def note_published(self, till: str, history: PublishHistory) -> PublishHistory:
        """A result of this till was published. Each result counts once, after ``ACCEPTED_MIN`` publishes.

        Only publishes that the broker accepted count: the others are a fault of the broker or the connection.
        """
        if history.accepted < ACCEPTED_MIN or history.is_unacked:
            return history
        self._tills.add(till, "unacknowledged", self._clock.now_ms())
        return replace(history, is_unacked=True)

    def note_acknowledged(self, till: str) -> None:
        """This till acknowledged an open result. An acknowledgement of another id is none."""
        self._tills.clear(till)

    def report(self) -> None:
        """Report a change since the last call. To be called at intervals: a fault can end by time alone."""
        faults = self._tills.faults(self._clock.now_ms())
        if faults != self._reported:
            self._reported = faults
            self._report(bool(faults), faults)
