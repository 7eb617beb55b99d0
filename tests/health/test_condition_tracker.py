"""The visible conditions: causes, consequences, and no fault that recovers early."""

from __future__ import annotations

import pytest

from agent.health.condition import Condition
from agent.health.condition_tracker import ConditionTracker, visible_conditions

LONG_MS = 3_600_000
# the grid feeds the modem, the modem feeds the link; the blink recovers within a second
GRID = Condition(code="grid")
MODEM = Condition(code="modem", depends_on=(GRID,))
LINK = Condition(code="link", depends_on=(MODEM,))
BLINK = Condition(code="blink", visible_after_ms=1_000)


def shown(since_ms: dict[Condition, int], now_ms: int) -> list[tuple[str, str]]:
    return [(each.condition.code, each.because) for each in visible_conditions(since_ms, now_ms)]


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        ({}, []),
        ({LINK: 0}, [("link", "")]),
        ({LINK: 0, MODEM: 5}, [("link", "modem"), ("modem", "")]),
        ({LINK: 0, GRID: 5}, [("link", ""), ("grid", "")]),
        ({LINK: 0, MODEM: 5, GRID: 9}, [("link", "grid"), ("modem", "grid"), ("grid", "")]),
    ],
    ids=["nothing", "alone", "with its cause", "the cause of an inactive cause", "a chain has one cause"],
)
def test_consequence_is_never_shown_as_a_cause(
    active: dict[Condition, int], expected: list[tuple[str, str]]
) -> None:
    assert shown(active, LONG_MS) == expected


def test_young_condition_is_hidden() -> None:
    assert shown({BLINK: 500}, 1_499) == []
    assert shown({BLINK: 500}, 1_500) == [("blink", "")]
    assert visible_conditions({BLINK: 500}, 2_000)[0].lasted_ms == 1_500


class Watched:
    """A tracker with a manual clock and a count of the reported changes."""

    def __init__(self) -> None:
        self.now_ms, self.changes = 0, 0
        self.tracker = ConditionTracker(lambda: self.now_ms, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def codes(self) -> list[str]:
        return [each.code for each in self.tracker.causes]


def test_each_visible_change_is_reported_once() -> None:
    watched = Watched()
    watched.tracker.raise_(LINK)
    watched.tracker.raise_(LINK)
    assert (watched.codes(), watched.changes) == (["link"], 1)
    watched.tracker.raise_(MODEM)
    assert (watched.codes(), watched.changes) == (["modem"], 2)
    watched.tracker.clear(MODEM)
    assert (watched.codes(), watched.changes) == (["link"], 3)
    watched.tracker.clear(LINK, GRID)
    watched.tracker.clear(LINK)
    assert (watched.codes(), watched.changes) == ([], 4)


def test_condition_that_recovers_early_is_never_reported() -> None:
    watched = Watched()
    watched.tracker.raise_(BLINK)
    watched.now_ms = 900
    watched.tracker.clear(BLINK)
    assert watched.changes == 0


def test_condition_becomes_visible_by_age_at_a_refresh() -> None:
    watched = Watched()
    watched.tracker.raise_(BLINK)
    watched.now_ms = 600
    watched.tracker.raise_(BLINK)
    watched.tracker.refresh()
    assert (watched.codes(), watched.changes) == ([], 0)
    assert watched.tracker.active == (BLINK,), "active, but hidden"
    watched.now_ms = 1_000
    watched.tracker.refresh()
    watched.tracker.refresh()
    assert (watched.codes(), watched.changes) == (["blink"], 1), "raised again, with the first start time"
