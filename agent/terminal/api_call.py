"""One API call of a verification, from its reservation to its end: what is paid, and where its time went.

A call is reserved before anything is done for it, so no limit can be exceeded. The call is paid when its
request goes out to the API: a call that may have been sent counts as sent. A reservation that was not used is
given back: refused connections, unknown hosts, the circuit breaker, a photo that could not be fetched.
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
        """Reserve one call; False when a limit allows no more. ``pay`` or ``release`` ends it."""

    def pay(self, crop: Crop) -> None:
        """The reserved call is being sent, with this picture: count it."""

    def release(self) -> None:
        """The reserved call was not sent: give the reservation back."""


@dataclass(slots=True)
class Spent:
    """What one verification has used so far. Milliseconds, summed up over all calls.

    ``connect`` and ``api`` include calls that timed out or were cancelled.
    """

    wait_face_ms: int = 0
    hold_ms: int = 0
    encode_ms: int = 0
    sign_ms: int = 0
    connect_ms: int = 0
    api_ms: int = 0
    calls: int = 0  # sent to the API
    is_slow: bool = False  # the newest call was sent, and its time was over before an answer

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
    """A reserved call. ``sent`` goes to the compare client; ``end`` is called in any case, once."""

    now_ms: Callable[[], int]
    purse: Budget
    spent: Spent
    late_at_ms: int  # the core waits no longer
    _crop: Crop | None = None
    _began_ms: int = 0
    _sent_ms: int | None = None
    _outcome: Comparison | AgentError | None = field(default=None, repr=False)

    def begin(self, crop: Crop) -> None:
        """The crop is handed to the compare client now."""
        self._crop, self._began_ms = crop, self.now_ms()

    def sent(self) -> None:
        """The request goes out. Counts once."""
        if self._sent_ms is None and self._crop is not None:
            self._sent_ms = self.now_ms()
            self.purse.pay(self._crop)
            self.spent.calls += 1

    def answered(self, answer: Comparison) -> None:
        self._outcome = answer

    def failed(self, error: AgentError) -> None:
        self._outcome = error

    def end(self) -> None:
        """Book the times, and give back a reservation that was not used."""
        ended_ms = self.now_ms()
        if self._sent_ms is None:
            self.purse.release()
        was_sent, was_cancelled = self._sent_ms is not None, self._outcome is None
        is_late = isinstance(self._outcome, CompareSlow) or (was_cancelled and ended_ms >= self.late_at_ms)
        self.spent.is_slow = was_sent and is_late
        self._book(ended_ms)
        self._crop = self._outcome = None  # no picture outlives its call

    def _book(self, ended_ms: int) -> None:
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
