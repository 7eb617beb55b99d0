"""One API call of a verification, from its reservation to its end: its cost and its durations.

A call is reserved before any work starts, so no limit can be exceeded. A call is paid when its request is
sent to the API: a call that may have been sent counts as sent. An unused reservation is released: refused
connections, unknown hosts, an open circuit breaker, a reference photo that could not be fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from agent.core.model import Comparison, Crop, Timings
from agent.errors import AgentError, CompareSlow


class Budget(Protocol):
    """The limits of paid calls."""

    def reserve(self) -> bool:
        """Reserve one call; False if a limit allows no more. ``pay`` or ``release`` ends the reservation."""

    def pay(self, crop: Crop) -> None:
        """Count the reserved call, which is sent now with this crop."""

    def release(self) -> None:
        """Release the reservation of a call that was not sent."""


@dataclass(slots=True)
class Spent:
    """Durations and API calls of one verification so far. Milliseconds, summed over all calls.

    ``connect`` and ``api`` include calls that timed out or were cancelled.
    """

    wait_face_ms: int = 0
    hold_ms: int = 0
    encode_ms: int = 0
    sign_ms: int = 0
    connect_ms: int = 0
    api_ms: int = 0
    calls: int = 0  # sent to the API
    is_slow: bool = False  # the newest call was sent and not answered within its time limit

    def timings(self, total_ms: int) -> Timings:
        return Timings(
            wait_face=self.wait_face_ms,
            hold=self.hold_ms,
            encode=self.encode_ms,
            sign=self.sign_ms,
            connect=self.connect_ms,
            api=self.api_ms,
            total=total_ms,
        )


@dataclass(slots=True)
class ApiCall:
    """A reserved call. The compare client gets ``sent`` as callback. ``end`` is always called, once."""

    now_ms: Callable[[], int]
    budget: Budget
    spent: Spent
    late_at_ms: int  # time limit of the client: it has passed when the core cancels a late call
    _crop: Crop | None = None
    _began_ms: int = 0
    _sent_ms: int | None = None
    _outcome: Comparison | AgentError | None = field(default=None, repr=False)

    def begin(self, crop: Crop) -> None:
        """Pass the crop to the compare client now."""
        self._crop, self._began_ms = crop, self.now_ms()

    def sent(self) -> None:
        """Count the call when its request is sent. Further calls of ``sent`` change nothing."""
        if self._sent_ms is None and self._crop is not None:
            self._sent_ms = self.now_ms()
            self.budget.pay(self._crop)
            self.spent.calls += 1

    def answered(self, answer: Comparison) -> None:
        self._outcome = answer

    def failed(self, error: AgentError) -> None:
        self._outcome = error

    def end(self) -> None:
        """Add the durations, and release an unused reservation."""
        ended_ms = self.now_ms()
        if self._sent_ms is None:
            self.budget.release()
        was_sent, was_cancelled = self._sent_ms is not None, self._outcome is None
        is_late = isinstance(self._outcome, CompareSlow) or (was_cancelled and ended_ms >= self.late_at_ms)
        self.spent.is_slow = was_sent and is_late
        self._add_durations(ended_ms)
        self._crop = self._outcome = None  # no picture stays in memory after the call

    def _add_durations(self, ended_ms: int) -> None:
        spent = self.spent
        if isinstance(self._outcome, Comparison):
            spent.sign_ms += self._outcome.sign_ms
            spent.connect_ms += self._outcome.connect_ms
            spent.api_ms += self._outcome.api_ms
        elif self._sent_ms is not None:
            spent.connect_ms += self._sent_ms - self._began_ms
            spent.api_ms += ended_ms - self._sent_ms
        elif self._crop is not None:
            spent.connect_ms += ended_ms - self._began_ms
