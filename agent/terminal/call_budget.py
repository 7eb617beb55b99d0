"""Call budget: the limits of ``core.attempt_limits`` with clock, counters and conditions of the terminal."""

from __future__ import annotations

from agent.core.attempt_limits import Attempts, GuardLimits, Spending
from agent.core.model import Crop, Request, Result
from agent.core.ports import Clock
from agent.core.reasons import Reason
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_compare import COST_HIGH
from agent.health.counters import Counters


class CallBudget:
    """Implements ``api_call.Budget``."""

    def __init__(
        self,
        clock: Clock,
        limits: GuardLimits,
        counters: Counters,
        conditions: ConditionTracker,
        *,
        earlier_calls: int = 0,
    ) -> None:
        self._clock = clock
        self._attempts = Attempts(limits)
        self._spending = Spending(limits, clock.now_ms(), earlier_calls)
        self._counters = counters
        self._conditions = conditions

    def use(self, limits: GuardLimits) -> None:
        """Replace the limits. Counted attempts and calls stay."""
        self._attempts.use(limits)
        self._spending.use(limits)

    def objection(self, request: Request) -> Reason | None:
        """The reason to answer this request at once without an API call, or None."""
        if self._attempts.is_paused(request.reference, self._clock.now_ms()):
            return Reason.ATTEMPT_LIMIT
        return None if self._spending.may_call(self._clock.now_ms()) else Reason.COST_LIMIT

    def reserve(self) -> bool:
        return self._spending.reserve(self._clock.now_ms())

    def release(self) -> None:
        self._spending.release()

    def pay(self, crop: Crop) -> None:
        now_ms = self._clock.now_ms()
        self._spending.release()
        self._spending.called(now_ms)
        self._counters.calls += 1
        self._counters.bytes_sent += len(crop.jpeg)
        if self._spending.is_high(now_ms):
            self._conditions.raise_(COST_HIGH)
        else:
            self._conditions.clear(COST_HIGH)

    def ended(self, result: Result) -> None:
        self._attempts.ended(result.request.reference, result.reason, self._clock.now_ms())
