"""Detects the tills whose messages all have a fault. Pure: the time is an argument."""

from collections import OrderedDict
from dataclasses import dataclass

from agent.health.condition import FORGET_MS

COUNT_MIN = 3  # a single fault can be a repeat of an old message
SPAN_MS = 10_000  # a till that sends its waiting requests after an outage sends them at once
TILLS_MAX = 64  # the till with the fewest faults is forgotten first, then the one with the oldest fault
_SHOWN_MAX = 3


@dataclass(frozen=True, slots=True)
class _Row:
    code: str
    first_ms: int
    last_ms: int
    count: int


class TillMeter:
    """Counts the faults in a row, separately for each till: the success of one till hides no other till."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, _Row] = OrderedDict()

    def add(self, till: str, code: str, now_ms: int) -> None:
        """Add one fault of a till. ``code``: the kind of the newest fault."""
        known = self._rows.pop(till, None)
        if known is None or _is_old(known, now_ms):
            known = _Row(code, now_ms, now_ms, 0)
        if len(self._rows) >= TILLS_MAX:
            self._forget_one(now_ms)
        self._rows[till] = _Row(code, known.first_ms, now_ms, known.count + 1)

    def _forget_one(self, now_ms: int) -> None:
        """Single faults of many names, which a client of the broker can choose, hide no till."""

        def rank(till: str) -> tuple[bool, int]:
            row = self._rows[till]
            return not _is_old(row, now_ms), row.count

        del self._rows[min(self._rows, key=rank)]  # of equal ranks the first one, which is the oldest

    def clear(self, till: str) -> None:
        """A message of this till had no fault."""
        self._rows.pop(till, None)

    def faults(self, now_ms: int) -> str:
        """The tills with ``COUNT_MIN`` faults in a row, as "till-1: 3 x code"; empty without such a till.

        The newest three are listed, with the number of the others. ``TILLS_MAX`` tills with a fault are a
        fault of their own: a further till is forgotten before it has ``COUNT_MIN`` faults.
        """
        found = [
            f"{till}: {row.count} x {row.code}" for till, row in self._rows.items() if _holds(row, now_ms)
        ]
        more = len(found) - _SHOWN_MAX
        shown = [*found[: -_SHOWN_MAX - 1 : -1], *([f"+{more}"] if more > 0 else [])]
        if len(self.newest(now_ms)) >= TILLS_MAX:
            shown.append(f"{TILLS_MAX} tills or more with a fault")
        return ", ".join(shown)

    def newest(self, now_ms: int) -> dict[str, str]:
        """The tills whose newest message had a fault, with its code; without those of ``FORGET_MS`` ago."""
        return {till: row.code for till, row in self._rows.items() if not _is_old(row, now_ms)}


def _holds(row: _Row, now_ms: int) -> bool:
    is_in_a_row = row.count >= COUNT_MIN and row.last_ms - row.first_ms >= SPAN_MS
    return is_in_a_row and not _is_old(row, now_ms)


def _is_old(row: _Row, now_ms: int) -> bool:
    return now_ms - row.last_ms >= FORGET_MS
