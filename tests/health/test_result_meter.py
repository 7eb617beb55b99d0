"""Which results in a row show a fault that no other condition explains."""

from __future__ import annotations

import pytest

from agent.core.model import Assurance, Comparison, Result, Timings
from agent.core.reasons import Decision, Reason
from agent.health.condition import Condition
from agent.health.conditions_board import VERIFICATIONS_FAILING
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
        (Reason.INTERNAL_ERROR, VERIFICATIONS_FAILING),
        (Reason.TIMED_OUT, VERIFICATIONS_FAILING),
        (Reason.FACE_UNUSABLE, None),
        (Reason.REFERENCE_UNUSABLE, None),
        (Reason.CANCELLED, None),
    ],
)
def test_add_same_fault_in_a_row_is_reported(reason: Reason, condition: Condition | None) -> None:
    meter = ResultMeter()
    seen = [meter.add(undecided(reason)) for _ in range(VERIFICATIONS_MIN)]
    *before, last = ([*each] for each in seen)
    assert not any(before) and last == ([] if condition is None else [condition])


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.startswith("compare_")])
def test_add_no_fault_of_the_api_is_forgotten(reason: Reason) -> None:
    """A new reason of the API without an entry would leave ``status`` at ONLINE while every payment fails."""
    meter = ResultMeter()
    found = [meter.add(undecided(reason)) for _ in range(VERIFICATIONS_MIN)]
    assert [*found[-1]] == [COMPARE_FAILING]


def test_add_only_a_comparison_ends_the_fault_and_its_count() -> None:
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        meter.add(undecided(Reason.COMPARE_FAILED, -1200))
    found = meter.add(undecided(Reason.NO_FACE))
    assert found == {COMPARE_FAILING: "compare_failed, API code -1200"}
    assert not meter.add(MATCH)
    assert not meter.add(undecided(Reason.COMPARE_FAILED, -1200))


def test_add_result_that_a_condition_explains_does_not_count() -> None:
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        assert not meter.add(undecided(Reason.COMPARE_UNREACHABLE), explained=True)


def test_add_other_fault_has_its_own_count_and_hides_none() -> None:
    """A till without usable photos must not hide a fault of the API, whatever the order of the requests."""
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN - 1):
        meter.add(undecided(Reason.COMPARE_BUSY))
        assert not meter.add(undecided(Reason.REFERENCE_REFUSED))
    assert meter.add(undecided(Reason.COMPARE_BUSY)) == {COMPARE_FAILING: "compare_busy"}
    both = {COMPARE_FAILING: "compare_busy", PHOTOS_FAILING: "reference_refused"}
    assert meter.add(undecided(Reason.REFERENCE_REFUSED)) == both
    assert not meter.add(MATCH)
