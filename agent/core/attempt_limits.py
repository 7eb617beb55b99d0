"""Limits that refuse a verification before an API call is paid: failed attempts, and paid calls.

Pure: the caller passes the time (boot clock, ms). The counts are in memory only. After a restart the caller
passes the calls of the last day to the constructor, so that restarts do not reset the daily limit.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass

from agent.core.model import Reference
from agent.core.reasons import Reason

MINUTE_MS, DAY_MS = 60_000, 86_400_000
_PERIOD_MS = 600_000  # the calls of a day are counted in periods of ten minutes; a period expires as a whole
_REFERENCES_MAX = 1_000  # the entry with the oldest last failure is removed first

# A face was present and was not the holder, or was no living one. No face is no failed attempt.
FAILURES = frozenset({Reason.DIFFERENT_PERSON, Reason.FACE_SWAPPED, Reason.LIVENESS_FAILED})
# Of the photo alone. Each attempt gives new prompts, so a film of the holder passes after enough attempts.
# Payers who turn too slowly have the same reason; they must not pause the terminal for the next payer.
PHOTO_FAILURES = FAILURES | {Reason.LIVENESS_NOT_COMPLETED}


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """The config section ``guard``, field by field. 0 disables a limit."""

    failures: int = 5
    failures_within_ms: int = 180_000
    pause_ms: int = 180_000
    calls_per_minute: int = 60
    calls_per_day_warning: int = 3_000
    calls_per_day: int = 6_000


class FailedAttempts:
    """Failed attempts per enrolled photo and of the whole terminal. Too many attempts start a pause."""

    def __init__(self, limits: AttemptLimits) -> None:
        self._limits = limits
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()
        self._paused_until_ms: dict[str, int] = {}

    def set_limits(self, limits: AttemptLimits) -> None:
        """Replace the limits. Counted failures and started pauses stay."""
        self._limits = limits
        self._failures = OrderedDict(
            (key, deque(times, maxlen=limits.failures)) for key, times in self._failures.items()
        )

    def is_paused(self, reference: Reference, now_ms: int) -> bool:
        return any(now_ms < self._paused_until_ms.get(key, now_ms) for key in _photo_and_terminal(reference))

    def terminal_pause_ms(self, now_ms: int) -> int:
        """The remaining time of the pause of the whole terminal, which refuses every request; 0: no pause."""
        return max(0, self._paused_until_ms.get(_TERMINAL, now_ms) - now_ms)

    def record_end(self, reference: Reference, reason: Reason, now_ms: int) -> None:
        """Count the end of a verification.

        A match proves the holder and removes the failures of the photo.
        """
        if reason is Reason.SAME_PERSON:
            self._remove(_photo_key(reference))
            return
        if reason in PHOTO_FAILURES:
            self._record_failure(_photo_key(reference), now_ms)
        if reason in FAILURES:
            self._record_failure(_TERMINAL, now_ms)

    def _record_failure(self, key: str, now_ms: int) -> None:
        if not self._limits.failures:
            return
        times = self._failures.setdefault(key, deque(maxlen=self._limits.failures))
        self._failures.move_to_end(key)
        times.append(now_ms)
        full = len(times) == self._limits.failures
        if full and now_ms - times[0] <= self._limits.failures_within_ms:
            self._paused_until_ms[key] = now_ms + self._limits.pause_ms
            times.clear()  # the count restarts after the pause
        while len(self._failures) > _REFERENCES_MAX:
            self._remove(next(key for key in self._failures if key != _TERMINAL))

    def _remove(self, key: str) -> None:
        self._failures.pop(key, None)
        self._paused_until_ms.pop(key, None)


class PaidCalls:
    """Paid calls of the last minute and of the last 24 hours."""

    def __init__(self, limits: AttemptLimits, now_ms: int, earlier: int = 0) -> None:
        """``earlier``: calls of earlier processes in the last day. They count as calls made now."""
        self._limits = limits
        self._sent_in_minute_ms: deque[int] = deque()
        self._reserved = 0
        self._periods: OrderedDict[int, int] = OrderedDict({now_ms // _PERIOD_MS: earlier})

    def set_limits(self, limits: AttemptLimits) -> None:
        """Replace the limits. Counted calls stay."""
        self._limits = limits

    def may_call(self, now_ms: int) -> bool:
        """Whether both limits allow one more call. A reserved call counts as made."""
        limits, reserved = self._limits, self._reserved
        self._drop_old(now_ms)
        minute_ok = (
            not limits.calls_per_minute or len(self._sent_in_minute_ms) + reserved < limits.calls_per_minute
        )
        return minute_ok and (
            not limits.calls_per_day or self._calls_of_day() + reserved < limits.calls_per_day
        )

    def reserve(self, now_ms: int) -> bool:
        """Reserve one call if both limits allow one. Each reservation ends with one ``release``."""
        if not self.may_call(now_ms):
            return False
        self._reserved += 1
        return True

    def release(self) -> None:
        """End one reservation: ``record_call`` counts the call now, or the call is not made."""
        self._reserved = max(0, self._reserved - 1)

    def record_call(self, now_ms: int) -> None:
        """Count one call, which was sent now."""
        self._drop_old(now_ms)
        self._sent_in_minute_ms.append(now_ms)
        period = now_ms // _PERIOD_MS
        self._periods[period] = self._periods.get(period, 0) + 1

    def is_high(self, now_ms: int) -> bool:
        """Whether the calls of the day reach the warning limit. The terminal continues."""
        self._drop_old(now_ms)
        return 0 < self._limits.calls_per_day_warning <= self._calls_of_day()

    def _calls_of_day(self) -> int:
        return sum(self._periods.values())

    def _drop_old(self, now_ms: int) -> None:
        while self._sent_in_minute_ms and now_ms - self._sent_in_minute_ms[0] >= MINUTE_MS:
            self._sent_in_minute_ms.popleft()
        while self._periods and now_ms - next(iter(self._periods)) * _PERIOD_MS >= DAY_MS + _PERIOD_MS:
            self._periods.popitem(last=False)


_TERMINAL = ""  # no reference has this key


def _photo_and_terminal(reference: Reference) -> tuple[str, str]:
    return _photo_key(reference), _TERMINAL


def _photo_key(reference: Reference) -> str:
    """The identity of the enrolled photo, independent of its location where a sha256 is known."""
    return reference.sha256 or f"url:{reference.url}"
