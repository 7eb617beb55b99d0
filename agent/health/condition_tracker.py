"""The active conditions of a terminal, and the subset that operators see. The tracker detects nothing itself.

``visible_conditions`` is the display rule, pure: time and active conditions are arguments. A condition
younger than its ``visible_after_ms`` is hidden. A condition whose cause is active is shown as a consequence.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from agent.health.condition import Condition
from agent.texts import Text


@dataclass(frozen=True, slots=True)
class ShownCondition:
    """A condition as operators see it.

    Attributes:
        because: the code of the cause; empty when the condition itself is a cause.
        detail: the measured or reported value, e.g. a reason code of the broker; may be empty.
    """

    condition: Condition
    lasted_ms: int
    because: str = ""
    detail: str | Text = ""


def visible_conditions(
    since_ms: Mapping[Condition, int], now_ms: int, details: Mapping[Condition, str | Text] | None = None
) -> tuple[ShownCondition, ...]:
    """The visible conditions, in the order of ``since_ms`` (start time of each active condition).

    ``because`` is the first cause of a chain, also when that cause is not visible yet.
    """
    return tuple(
        ShownCondition(
            condition,
            now_ms - began_ms,
            _first_cause(condition, since_ms),
            (details or {}).get(condition, ""),
        )
        for condition, began_ms in since_ms.items()
        if now_ms - began_ms >= condition.visible_after_ms
    )


def _first_cause(condition: Condition, active: Mapping[Condition, int]) -> str:
    for cause in condition.depends_on:
        if cause in active:
            return _first_cause(cause, active) or cause.code
    return ""


class ConditionTracker:
    """Stores the active conditions and calls ``on_change`` after each change of the visible conditions.

    ``on_change`` publishes ``state``. The owner calls ``refresh`` at intervals, because a condition becomes
    visible by age alone.
    """

    def __init__(self, now_ms: Callable[[], int], on_change: Callable[[], None] = lambda: None) -> None:
        self._now_ms = now_ms
        self._since_ms: dict[Condition, int] = {}
        self._details: dict[Condition, str | Text] = {}
        self._last_shown = frozenset[tuple[Condition, str]]()
        self._on_change = on_change

    @property
    def active(self) -> tuple[Condition, ...]:
        """All active conditions, visible or not, in the order in which they were raised."""
        return tuple(self._since_ms)

    @property
    def shown(self) -> tuple[ShownCondition, ...]:
        """The visible conditions: causes and consequences."""
        return visible_conditions(self._since_ms, self._now_ms(), self._details)

    @property
    def causes(self) -> tuple[Condition, ...]:
        """The visible causes: the conditions that an operator can fix."""
        return tuple(row.condition for row in self.shown if not row.because)

    def raise_(self, condition: Condition, detail: str | Text = "") -> None:
        """Raise a condition, or replace the ``detail`` of an active one."""
        self._since_ms.setdefault(condition, self._now_ms())
        self._details[condition] = detail
        self.refresh()

    def update(self, condition: Condition, holds: bool, detail: str | Text = "") -> None:
        """Raise the condition while it holds, otherwise clear it."""
        if holds:
            self.raise_(condition, detail)
        else:
            self.clear(condition)

    def raise_only(
        self, condition: Condition | None, of: Iterable[Condition], detail: str | Text = ""
    ) -> None:
        """Clear the other conditions ``of`` a group, and raise this one, if any."""
        self.clear(*(other for other in of if other != condition))
        if condition is not None:
            self.raise_(condition, detail)

    def clear(self, *conditions: Condition) -> None:
        """Clear conditions; an inactive one changes nothing."""
        for condition in conditions:
            self._since_ms.pop(condition, None)
            self._details.pop(condition, None)
        self.refresh()

    def refresh(self) -> None:
        """Call ``on_change`` when the visible conditions differ from those of the last call."""
        shown = frozenset((row.condition, row.because) for row in self.shown)
        if shown != self._last_shown:
            self._last_shown = shown
            self._on_change()
