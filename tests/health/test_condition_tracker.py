"""What is shown of the conditions that hold: causes, consequences, and nothing that heals by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.health import condition_tracker as tracker_module
from agent.health.condition_tracker import ConditionTracker, view
from agent.health.conditions import CONDITIONS, Condition

LONG_MS = 3_600_000


def row(code: str, *depends_on: str, visible_after_ms: int = 0) -> Condition:
    return replace(CONDITIONS["clock"], code=code, depends_on=depends_on, visible_after_ms=visible_after_ms)


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small table: the grid feeds the modem, the modem feeds the link; the blink heals within a second."""
    made = (row("grid"), row("modem", "grid"), row("link", "modem"), row("blink", visible_after_ms=1_000))
    monkeypatch.setattr(tracker_module, "CONDITIONS", {each.code: each for each in made})


def words(since_ms: dict[str, int], now_ms: int) -> list[tuple[str, str]]:
    return [(each.condition.code, each.because) for each in view(since_ms, now_ms)]


@pytest.mark.parametrize(
    ("holding", "shown"),
    [
        ({}, []),
        ({"link": 0}, [("link", "")]),
        ({"link": 0, "modem": 5}, [("link", "modem"), ("modem", "")]),
        ({"link": 0, "grid": 5}, [("link", ""), ("grid", "")]),
        ({"link": 0, "modem": 5, "grid": 9}, [("link", "grid"), ("modem", "grid"), ("grid", "")]),
    ],
    ids=["nothing", "alone", "with its cause", "its cause's cause does not hold it", "a chain has one cause"],
)
def test_a_consequence_is_never_shown_as_a_cause(
    holding: dict[str, int], shown: list[tuple[str, str]]
) -> None:
    assert words(holding, LONG_MS) == shown


def test_what_has_not_lasted_is_not_visible_yet() -> None:
    assert words({"blink": 500}, 1_499) == []
    assert words({"blink": 500}, 1_500) == [("blink", "")]
    assert view({"blink": 500}, 2_000)[0].lasted_ms == 1_500


class Told:
    """A tracker whose clock the test turns, and how often it told of a change."""

    def __init__(self) -> None:
        self.now_ms, self.changes = 0, 0
        self.tracker = ConditionTracker(lambda: self.now_ms, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def codes(self) -> list[str]:
        return [each.code for each in self.tracker.causes]


def test_each_change_of_what_is_shown_is_told_once() -> None:
    told = Told()
    told.tracker.raise_("link")
    told.tracker.raise_("link")
    assert (told.codes(), told.changes) == (["link"], 1)
    told.tracker.raise_("modem")
    assert (told.codes(), told.changes) == (["modem"], 2)
    told.tracker.clear("modem")
    assert (told.codes(), told.changes) == (["link"], 3)
    told.tracker.clear("link", "grid")
    told.tracker.clear("link")
    assert (told.codes(), told.changes) == ([], 4)


def test_what_heals_by_itself_is_never_told() -> None:
    told = Told()
    told.tracker.raise_("blink")
    told.now_ms = 900
    told.tracker.clear("blink")
    assert told.changes == 0


def test_what_lasts_becomes_visible_when_somebody_looks_again() -> None:
    told = Told()
    told.tracker.raise_("blink")
    told.now_ms = 600
    told.tracker.raise_("blink")
    told.tracker.look_again()
    assert (told.codes(), told.changes) == ([], 0)
    assert [each.code for each in told.tracker.active] == ["blink"], "it holds, though nobody sees it"
    told.now_ms = 1_000
    told.tracker.look_again()
    told.tracker.look_again()
    assert (told.codes(), told.changes) == (["blink"], 1), "raising it again did not make it younger"


def test_a_word_that_is_no_condition_changes_nothing() -> None:
    told = Told()
    told.tracker.raise_("face_unusable")
    assert (told.tracker.active, told.changes) == ((), 0)
