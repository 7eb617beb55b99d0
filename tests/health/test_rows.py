"""The shipped table of conditions: whole, in both languages, and nothing hangs on itself."""

from __future__ import annotations

from agent.core.reasons import Reason
from agent.health.condition_tracker import CAMERA, COMPARE, JUDGED, view
from agent.health.conditions import CONDITIONS, PARTS, Severity
from tests.texts import en, zh

LONG_MS = 3_600_000


def test_every_row_is_whole() -> None:
    assert len(CONDITIONS) == sum(map(len, PARTS.values())), "a code that stands twice has two texts"
    for code, condition in CONDITIONS.items():
        assert code == condition.code and code.replace("_", "").isalpha() and code.islower()
        for name in ("title", "cause", "fix"):
            english, chinese = en(getattr(condition, name)), zh(getattr(condition, name))
            assert english[0].isupper() or english.startswith(("appid", "`"))
            assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese), f"{code}: {name}_zh"
        assert 0 <= condition.visible_after_ms <= 60_000, "a minute unseen is a minute of wondering"


def test_no_code_is_declared_twice() -> None:
    assert sum(len(rows) for rows in PARTS.values()) == len(CONDITIONS)


def test_what_hangs_on_what_ends_somewhere_and_never_hides_the_worse() -> None:
    for condition in CONDITIONS.values():
        for cause in condition.depends_on:
            assert cause in CONDITIONS, f"{condition.code} hangs on {cause}, which is not declared"
            worse = CONDITIONS[cause].severity is Severity.ERROR
            assert worse or condition.severity is Severity.WARNING, f"{condition.code} is worse than {cause}"
    everything = view(dict.fromkeys(CONDITIONS, 0), LONG_MS)  # a circle would never come back
    assert any(not each.because for each in everything)


def test_groups_and_reasons_are_those_of_the_table() -> None:
    assert {*COMPARE, *CAMERA, *JUDGED} <= set(CONDITIONS)
    assert set(JUDGED) < set(COMPARE)
    assert {*CAMERA} & {*Reason} == {"camera_unavailable", "camera_frozen"}
