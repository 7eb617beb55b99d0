"""When to say no before anything is paid for: too many failed tries, or too many calls.

Pure: the caller says what time it is (boot clock, ms). Kept in memory; the calls of the last day are handed
in at the start, so that a terminal that restarts again and again cannot spend without end.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from agent.core.model import Reference
from agent.core.reasons import Reason

MINUTE_MS, DAY_MS = 60_000, 86_400_000
_SLOT_MS = 600_000  # the day is counted in slots of ten minutes, the oldest of which ends as a whole
_MOST_REFERENCES = 1_000  # remembered at once; the longest quiet is forgotten first

# Somebody stood there and was not the payer, or did not behave like a person. Nobody there is no failed try.
FAILURES = frozenset({Reason.DIFFERENT_PERSON, Reason.FACE_SWAPPED, Reason.LIVENESS_FAILED})


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Config's ``guard`` section, field by field. 0 means: no such limit."""

    failures: int = 5
    failures_within_ms: int = 180_000
    pause_ms: int = 180_000
    calls_per_minute: int = 60
    calls_per_day_warning: int = 3_000
    calls_per_day: int = 6_000


class Attempts:
    """Failed tries per enrolled photo and for the terminal as a whole; too many of one begin its pause."""

    def __init__(self, limits: GuardLimits) -> None:
        self._limits = limits
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()
        self._paused_until_ms: dict[str, int] = {}

    def use(self, limits: GuardLimits) -> None:
        """Other limits: what failed is remembered, a pause that began stays."""
        self._limits = limits
        self._failures = OrderedDict(
            (key, deque(times, maxlen=limits.failures)) for key, times in self._failures.items()
        )

    def is_paused(self, reference: Reference, now_ms: int) -> bool:
        return any(now_ms < self._paused_until_ms.get(key, now_ms) for key in _keys(reference))

    def ended(self, reference: Reference, reason: Reason, now_ms: int) -> None:
        """A verification ended. A match proves the holder: what failed for this photo before is forgiven."""
        if reason is Reason.SAME_PERSON:
            self._forget(_key(reference))
        elif reason in FAILURES and self._limits.failures:
            for key in _keys(reference):
                self._failed(key, now_ms)

    def _failed(self, key: str, now_ms: int) -> None:
        times = self._failures.setdefault(key, deque(maxlen=self._limits.failures))
        self._failures.move_to_end(key)
        times.append(now_ms)
        full = len(times) == self._limits.failures
        if full and now_ms - times[0] <= self._limits.failures_within_ms:
            self._paused_until_ms[key] = now_ms + self._limits.pause_ms
            times.clear()  # after the pause one counts anew
        while len(self._failures) > _MOST_REFERENCES:
            self._forget(next(key for key in self._failures if key != _TERMINAL))

    def _forget(self, key: str) -> None:
        self._failures.pop(key, None)
        self._paused_until_ms.pop(key, None)


class Spending:
    """Paid calls of the last minute and of the last 24 hours."""

    def __init__(self, limits: GuardLimits, now_ms: int, earlier: int = 0) -> None:
        """``earlier`` calls were made in the last day by processes before this one: counted as made now."""
        self._limits = limits
        self._minute: deque[int] = deque()
        self._reserved = 0
        self._slots: OrderedDict[int, int] = OrderedDict({now_ms // _SLOT_MS: earlier})

    def use(self, limits: GuardLimits) -> None:
        """Other limits: what was spent stays counted."""
        self._limits = limits

    def may_call(self, now_ms: int) -> bool:
        """Whether one more call stays within both limits. A reserved call counts as made."""
        limits, reserved = self._limits, self._reserved
        self._drop_old(now_ms)
        minute_ok = not limits.calls_per_minute or len(self._minute) + reserved < limits.calls_per_minute
        return minute_ok and (not limits.calls_per_day or self._day() + reserved < limits.calls_per_day)

    def reserve(self, now_ms: int) -> bool:
        """Reserve one call if both limits allow one. Each reservation ends with one ``release``."""
        if not self.may_call(now_ms):
            return False
        self._reserved += 1
        return True

    def release(self) -> None:
        """End one reservation: the call is being made (``called`` counts it), or will not be made."""
        self._reserved = max(0, self._reserved - 1)

    def called(self, now_ms: int) -> None:
        """One call is being made."""
        self._drop_old(now_ms)
        self._minute.append(now_ms)
        slot = now_ms // _SLOT_MS
        self._slots[slot] = self._slots.get(slot, 0) + 1

    def is_high(self, now_ms: int) -> bool:
        """Whether the day's warning is reached: the terminal goes on, somebody should look."""
        self._drop_old(now_ms)
        return 0 < self._limits.calls_per_day_warning <= self._day()

    def _day(self) -> int:
        return sum(self._slots.values())

    def _drop_old(self, now_ms: int) -> None:
        while self._minute and now_ms - self._minute[0] >= MINUTE_MS:
            self._minute.popleft()
        while self._slots and now_ms - next(iter(self._slots)) * _SLOT_MS >= DAY_MS + _SLOT_MS:
            self._slots.popitem(last=False)


_TERMINAL = ""  # no reference has this key


def _keys(reference: Reference) -> tuple[str, str]:
    return _key(reference), _TERMINAL


def _key(reference: Reference) -> str:
    """Who is asked about: the enrolled photo, wherever it lies."""
    return reference.sha256 or f"url:{reference.url}"
