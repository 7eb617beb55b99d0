"""Which conditions hold now, and which of them a person should see. It remembers, it does not look.

``view`` is the rule, pure: time and what holds come as data. A condition that has not lasted its
``visible_after_ms`` is not shown yet; one that depends on another that holds is shown as its consequence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.health import conditions_camera
from agent.health.conditions import CONDITIONS, PARTS, Condition

# One success proves all of these wrong.
COMPARE = (
    "cost_limit",
    "compare_unreachable",
    "compare_slow",
    "compare_credentials",
    "compare_account",
    "compare_config",
    "clock",
)
# Only an answer of the API says one of these, and it says one at a time.
JUDGED = ("compare_credentials", "compare_account", "compare_config", "clock")
CAMERA = tuple(row.code for row in PARTS["camera"])
NO_PICTURE = tuple(row.code for row in conditions_camera.NO_PICTURE)


@dataclass(frozen=True, slots=True)
class ShownCondition:
    """A condition as people see it.

    Attributes:
        because: the code it is a consequence of; empty for a cause.
        detail: what was measured or reported this time, e.g. a broker's reason code; may be empty.
    """

    condition: Condition
    lasted_ms: int
    because: str = ""
    detail: str = ""


def view(
    since_ms: Mapping[str, int], now_ms: int, details: Mapping[str, str] | None = None
) -> tuple[ShownCondition, ...]:
    """What to show of the conditions that hold ``since_ms``, in their order.

    A consequence hangs on the first cause there is, however far away and whether that is visible yet or not.
    """
    shown = []
    for code, began_ms in since_ms.items():
        condition, lasted_ms = CONDITIONS[code], now_ms - began_ms
        if lasted_ms >= condition.visible_after_ms:
            detail = (details or {}).get(code, "")
            shown.append(ShownCondition(condition, lasted_ms, _cause(condition, since_ms), detail))
    return tuple(shown)


def _cause(condition: Condition, holding: Mapping[str, int]) -> str:
    for code in condition.depends_on:
        if code in holding:
            return _cause(CONDITIONS[code], holding) or code
    return ""


class ConditionTracker:
    """The conditions that hold, with a call for each change of what is shown: ``state`` is published anew.

    Somebody calls ``look_again`` from time to time, for what becomes visible by lasting.
    """

    def __init__(self, now_ms: Callable[[], int], on_change: Callable[[], None] = lambda: None) -> None:
        self._now_ms = now_ms
        self._since_ms: dict[str, int] = {}
        self._details: dict[str, str] = {}
        self._last = frozenset[tuple[str, str]]()
        self._on_change = on_change

    @property
    def active(self) -> tuple[Condition, ...]:
        """All that hold, visible or not, in the order in which they were raised."""
        return tuple(CONDITIONS[code] for code in self._since_ms)

    @property
    def shown(self) -> tuple[ShownCondition, ...]:
        """What people see now: causes and consequences."""
        return view(self._since_ms, self._now_ms(), self._details)

    @property
    def causes(self) -> tuple[Condition, ...]:
        """What people see now and can mend."""
        return tuple(each.condition for each in self.shown if not each.because)

    def raise_(self, code: str, detail: str = "") -> None:
        """Raise a condition, or renew the ``detail`` of one that holds. Undeclared codes are ignored."""
        if code in CONDITIONS:
            self._since_ms.setdefault(code, self._now_ms())
            self._details[code] = detail
            self.look_again()

    def clear(self, *codes: str) -> None:
        for code in codes:
            self._since_ms.pop(code, None)
            self._details.pop(code, None)
        self.look_again()

    def look_again(self) -> None:
        """Tell when what is shown has changed since the last time it was."""
        shown = frozenset((each.condition.code, each.because) for each in self.shown)
        if shown != self._last:
            self._last = shown
            self._on_change()
