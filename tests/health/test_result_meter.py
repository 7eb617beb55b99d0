"""Which results in a row show a fault that no other condition explains."""

from __future__ import annotations

import pytest

from agent.core.model import Assurance, Comparison, Result, Timings
from agent.core.reasons import Decision, Reason
from agent.health.condition import Condition
from agent.health.conditions_compare import COMPARE_FAILING, PHOTOS_FAILING
from agent.health.result_meter import VERIFICATIONS_MIN, ResultMeter
from tests.contract.golden import request


def undecided(reason: Reason, api_code: int | None = None) -> Result:
    return Result(request(), Decision.UNDECIDED, reason, 1, None, Timings(), Assurance(), api_code)


MATCH = Result(
    request(),
    Decision.MATCH,
    Reason.SAME_PERSON,
    1,
    Comparison(93.0, 80.0, "p", "s", 0),
    Timings(),
    Assurance(),
)


@pytest.mark.parametrize(
    ("reason", "condition"),
    [
        (Reason.COMPARE_UNKNOWN_CODE, COMPARE_FAILING),
        (Reason.COMPARE_BUSY, COMPARE_FAILING),
        (Reason.REFERENCE_UNREACHABLE, PHOTOS_FAILING),
        (Reason.FACE_UNUSABLE, None),
        (Reason.REFERENCE_UNUSABLE, None),
        (Reason.CANCELLED, None),
    ],
)
def test_add_same_fault_in_a_row_is_reported(reason: Reason, condition: Condition | None) -> None:
    meter = ResultMeter()
    seen = [meter.add(undecided(reason)) for _ in range(VERIFICATIONS_MIN)]
    assert seen == [*[None] * (VERIFICATIONS_MIN - 1), condition]


def test_add_only_a_comparison_ends_the_fault_and_its_count() -> None:
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        meter.add(undecided(Reason.COMPARE_FAILED, -1200))
    assert meter.add(undecided(Reason.NO_FACE)) is COMPARE_FAILING
    assert meter.detail == "compare_failed, API code -1200"
    assert meter.add(MATCH) is None
    assert meter.add(undecided(Reason.COMPARE_FAILED, -1200)) is None


def test_add_result_that_a_condition_explains_does_not_count() -> None:
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        assert meter.add(undecided(Reason.COMPARE_UNREACHABLE), explained=True) is None


def test_add_other_fault_starts_a_new_count() -> None:
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN - 1):
        meter.add(undecided(Reason.COMPARE_BUSY))
    assert meter.add(undecided(Reason.REFERENCE_REFUSED)) is None
