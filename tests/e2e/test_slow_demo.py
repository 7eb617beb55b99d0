"""The demo on a slow machine: each visit is played at most twice."""

from __future__ import annotations

import pytest

from agent.demo.demo_system import VISITS, DemoSystem, VisitRow
from agent.kits.till.acceptance import Acceptance

VISIT = {visit.title: visit for visit in VISITS}


@pytest.mark.parametrize(
    ("title", "reasons", "result"),
    [
        ("the holder walks up", ["face_lost", "same_person"], "same_person"),
        ("the holder walks up", ["face_lost", "timed_out"], "timed_out"),
        ("the holder walks up", ["different_person"], "different_person"),
        ("service stopped", ["compare_unreachable"], "compare_unreachable"),
    ],
)
async def test_visit_is_played_again_only_where_the_machine_was_too_slow(
    monkeypatch: pytest.MonkeyPatch, title: str, reasons: list[str], result: str
) -> None:
    visit, left = VISIT[title], iter(reasons)

    async def play(_stage: DemoSystem) -> VisitRow:
        reason = next(left)
        decision = {"same_person": "match", "different_person": "no_match"}.get(reason, "undecided")
        return VisitRow(visit, Acceptance(decision, reason, "r"), visit.calls or 0)

    monkeypatch.setattr(DemoSystem, "_play", lambda stage, _visit: play(stage))
    row = await DemoSystem.play(object.__new__(DemoSystem), visit)
    assert (row.verdict.reason, row.as_expected) == (result, reasons[-1] == visit.reason)
    assert list(left) == [], "each expected visit was played"
