"""API calls: their limits, and the cost and the durations of one call from its reservation to its end.

A call is reserved before any work starts, so no limit can be exceeded. A call is paid when its request is
sent to the API: a call that may have been sent counts as sent. An unused reservation is released: refused
connections, unknown hosts, an open circuit breaker, a reference photo that could not be fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from agent.core.attempt_limits import AttemptLimits, FailedAttempts, PaidCalls
from agent.core.model import Comparison, Crop, Request, Result, Timings
from agent.core.ports import Clock
from agent.core.reasons import Reason
from agent.errors import AgentError, CompareSlow
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import ATTEMPTS_PAUSED
from agent.health.conditions_compare import COST_HIGH
from agent.health.counters import Counters
from agent.texts import Text


class CallBudget:
    """The limits of ``core.attempt_limits`` with clock, counters and conditions of the terminal."""

    def __init__(
        self,
        clock: Clock,
        limits: AttemptLimits,
        counters: Counters,
        conditions: ConditionTracker,
        *,
        earlier_calls: int = 0,
    ) -> None:
        self._clock = clock
        self._attempts = FailedAttempts(limits)
        self._paid_calls = PaidCalls(limits, clock.now_ms(), earlier_calls)
        self._counters = counters
        self._conditions = conditions

    def set_limits(self, limits: AttemptLimits) -> None:
        """Replace the limits. Counted attempts and calls stay."""
        self._attempts.set_limits(limits)
        self._paid_calls.set_limits(limits)

    def limit_reached(self, request: Request) -> Reason | None:
        """The reason to answer this request at once without an API call, or None."""
        self.show_pause()
        if self._attempts.is_paused(request.reference, self._clock.now_ms()):
            return Reason.ATTEMPT_LIMIT
        return None if self._paid_calls.may_call(self._clock.now_ms()) else Reason.COST_LIMIT

    def reserve(self) -> bool:
        """Reserve one call; False if a limit allows no more.

        ``record_sent`` or ``release`` ends the reservation.
        """
        return self._paid_calls.reserve(self._clock.now_ms())

    def release(self) -> None:
        """Release the reservation of a call that was not sent."""
        self._paid_calls.release()

    def record_sent(self, crop: Crop) -> None:
        """Count the reserved call, which is sent now with this crop."""
        now_ms = self._clock.now_ms()
        self._paid_calls.release()
        self._paid_calls.record_call(now_ms)
        self._counters.calls += 1
        self._counters.bytes_sent += len(crop.jpeg)
        self._conditions.update(COST_HIGH, self._paid_calls.is_high(now_ms))

    def record_end(self, result: Result) -> None:
        self._attempts.record_end(result.request.reference, result.reason, self._clock.now_ms())
        self.show_pause()

    def show_pause(self) -> None:
        """Raise ``attempts_paused`` with the remaining time while the terminal pauses, else clear it."""
        left_s = -(-self._attempts.terminal_pause_ms(self._clock.now_ms()) // 1_000)
        self._conditions.update(ATTEMPTS_PAUSED, left_s > 0, Text("detail.attempts_paused", left_s=left_s))


@dataclass(slots=True)
class PhaseTimes:
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
    is_slow: bool = False  # the newest sent call was not answered within its time limit

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
    budget: CallBudget
    times: PhaseTimes
    late_at_ms: int  # time limit of the client: it has passed when the core cancels a late call
    outcome: Comparison | AgentError | None = field(default=None, repr=False)  # None: cancelled, or a bug
    _crop: Crop | None = None
    _began_ms: int = 0
    _sent_ms: int | None = None

    def begin(self, crop: Crop) -> None:
        """Pass the crop to the compare client now."""
        self._crop, self._began_ms = crop, self.now_ms()

    def sent(self) -> None:
        """Count the call when its request is sent. Further calls of ``sent`` change nothing."""
        if self._sent_ms is None and self._crop is not None:
            self._sent_ms = self.now_ms()
            self.budget.record_sent(self._crop)
            self.times.calls += 1

    def end(self) -> None:
        """Add the durations, and release an unused reservation."""
        ended_ms, outcome, times = self.now_ms(), self.outcome, self.times
        is_late = self._sent_ms is not None and outcome is None and ended_ms >= self.late_at_ms
        times.is_slow = is_late or isinstance(outcome, CompareSlow)
        if self._sent_ms is None:
            self.budget.release()
        if isinstance(outcome, Comparison):
            times.sign_ms += outcome.sign_ms
            times.connect_ms += outcome.connect_ms
            times.api_ms += outcome.api_ms
        elif self._sent_ms is not None:
            times.connect_ms += self._sent_ms - self._began_ms
            times.api_ms += ended_ms - self._sent_ms
        elif self._crop is not None:
            times.connect_ms += ended_ms - self._began_ms
        self._crop = self.outcome = None  # no picture stays in memory after the call
