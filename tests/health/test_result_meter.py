"""Which results in a row show a fault that no other condition explains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.model import Assurance, Comparison, Reference, Result, Timings
from agent.core.reasons import Decision, Reason
from agent.health.condition import FORGET_MS, Condition
from agent.health.conditions_board import VERIFICATIONS_FAILING
from agent.health.conditions_compare import COMPARE_FAILING, PHOTOS_FAILING
from agent.health.result_meter import VERIFICATIONS_MIN, ResultMeter
from tests.contract.golden import request


def undecided(reason: Reason, api_code: int | None = None) -> Result:
    return Result(request(), Decision.UNDECIDED, reason, 1, None, Timings(), Assurance(), api_code)


def added(
    meter: ResultMeter, result: Result, now_ms: int = 0, *, explained: bool = False
) -> dict[Condition, str]:
    """The faults after one more result."""
    meter.add(result, now_ms, explained=explained)
    return meter.faults(now_ms)


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
        (Reason.ASSURANCE_UNMET, VERIFICATIONS_FAILING),
        (Reason.FACE_UNUSABLE, None),
        (Reason.REFERENCE_UNUSABLE, None),
        (Reason.CANCELLED, None),
    ],
)
def test_add_same_fault_in_a_row_is_reported(reason: Reason, condition: Condition | None) -> None:
    meter = ResultMeter()
    seen = [added(meter, undecided(reason)) for _ in range(VERIFICATIONS_MIN)]
    *before, last = ([*each] for each in seen)
    assert not any(before) and last == ([] if condition is None else [condition])


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.startswith("compare_")])
def test_add_no_fault_of_the_api_is_forgotten(reason: Reason) -> None:
    """A new reason of the API without an entry would leave ``status`` at ONLINE while every payment fails."""
    meter = ResultMeter()
    found = [added(meter, undecided(reason)) for _ in range(VERIFICATIONS_MIN)]
    assert [*found[-1]] == [COMPARE_FAILING]


def test_add_only_a_comparison_ends_a_fault_of_the_api_and_its_count() -> None:
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        added(meter, undecided(Reason.COMPARE_FAILED, -1200))
    found = added(meter, undecided(Reason.NO_FACE))
    assert found == {COMPARE_FAILING: "compare_failed, API code -1200"}
    assert not added(meter, MATCH)
    assert not added(meter, undecided(Reason.COMPARE_FAILED, -1200))


def test_add_result_that_a_condition_explains_does_not_count() -> None:
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        assert not added(meter, undecided(Reason.COMPARE_UNREACHABLE), explained=True)


def test_add_other_fault_has_its_own_count_and_hides_none() -> None:
    """A till without usable photos must not hide a fault of the API, whatever the order of the requests."""
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN - 1):
        added(meter, undecided(Reason.COMPARE_BUSY))
        assert not added(meter, undecided(Reason.REFERENCE_REFUSED))
    assert added(meter, undecided(Reason.COMPARE_BUSY)) == {COMPARE_FAILING: "compare_busy"}
    both = {COMPARE_FAILING: "compare_busy", PHOTOS_FAILING: "reference_refused"}
    assert added(meter, undecided(Reason.REFERENCE_REFUSED)) == both
    assert not added(meter, MATCH)


@pytest.mark.parametrize("other", [Reason.NO_FACE, Reason.FACE_UNUSABLE, Reason.COMPARE_BUSY])
def test_add_fault_of_the_terminal_ends_with_another_reason(other: Reason) -> None:
    """Three timed_out of a week, with other ends between, show no fault of the terminal."""
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        assert not added(meter, undecided(Reason.TIMED_OUT))
        assert not added(meter, undecided(other), explained=other is Reason.COMPARE_BUSY)
    for _ in range(VERIFICATIONS_MIN):
        found = added(meter, undecided(Reason.INTERNAL_ERROR))
    assert found == {VERIFICATIONS_FAILING: "internal_error"}
    assert not added(meter, undecided(other), explained=other is Reason.COMPARE_BUSY)


@pytest.mark.parametrize("other", [Reason.CANCELLED, Reason.INTERRUPTED])
def test_add_end_by_the_till_or_the_agent_leaves_the_count_of_the_terminal(other: Reason) -> None:
    """A payer also cancels because the terminal is slow."""
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        found = added(meter, undecided(Reason.TIMED_OUT))
        added(meter, undecided(other))
    assert found == {VERIFICATIONS_FAILING: "timed_out"}


def test_faults_of_the_terminal_are_forgotten_after_an_hour() -> None:
    meter = ResultMeter()
    for number in range(VERIFICATIONS_MIN):
        assert not added(meter, undecided(Reason.TIMED_OUT), number * FORGET_MS)
    now_ms = 10 * FORGET_MS
    for _ in range(VERIFICATIONS_MIN):
        added(meter, undecided(Reason.TIMED_OUT), now_ms)
    assert meter.faults(now_ms + FORGET_MS - 1) == {VERIFICATIONS_FAILING: "timed_out"}
    assert not meter.faults(now_ms + FORGET_MS)


def test_faults_of_the_api_are_not_forgotten() -> None:
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        added(meter, undecided(Reason.COMPARE_FAILED))
    assert meter.faults(10 * FORGET_MS) == {COMPARE_FAILING: "compare_failed"}


def test_add_comparison_with_a_photo_in_the_request_shows_nothing_about_the_hosts_of_photos() -> None:
    meter, inline = ResultMeter(), replace(MATCH, request=replace(request(), reference=Reference()))
    for _ in range(VERIFICATIONS_MIN):
        added(meter, undecided(Reason.REFERENCE_UNREACHABLE))
    assert added(meter, inline, FORGET_MS - 1) == {PHOTOS_FAILING: "reference_unreachable"}
    assert not added(meter, inline, FORGET_MS), "or the condition stays in a shop without downloads"
    for _ in range(VERIFICATIONS_MIN):
        added(meter, undecided(Reason.REFERENCE_UNREACHABLE), FORGET_MS)
    assert not added(meter, MATCH, FORGET_MS)


@pytest.mark.parametrize("image", [None, b"a photo"])
def test_add_different_unusable_photos_are_a_fault(image: bytes | None) -> None:
    """One payer repeats the same photo; a wrong export of photos, or a portal before their host, does not."""
    meter, url = ResultMeter(), None if image else "https://photos.example/1.jpg"
    for number in range(VERIFICATIONS_MIN):
        reference = Reference(url=url, image=image, sha256=f"{number}")
        bad = replace(undecided(Reason.REFERENCE_UNUSABLE), request=replace(request(), reference=reference))
        assert not meter.faults(0)
        added(meter, bad)
        found = added(meter, bad)
    assert found == {PHOTOS_FAILING: "reference_unusable"}
    good = replace(MATCH, request=replace(request(), reference=Reference(url=url, image=image)))
    assert not added(meter, good)
    assert not added(meter, bad), "the count starts again"


def test_add_neutral_reason_between_faults_of_the_terminal_keeps_their_count() -> None:
    """A terminal without processor time also reports that its camera delivers no frame."""
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        added(meter, undecided(Reason.CAMERA_UNAVAILABLE))
        found = added(meter, undecided(Reason.TIMED_OUT))
    assert found == {VERIFICATIONS_FAILING: "timed_out"}


def test_add_unusable_photo_of_a_url_is_no_failed_download() -> None:
    """Otherwise comparisons with photos inside the request would not clear the fault for an hour."""
    meter = ResultMeter()

    def unusable(reference: Reference) -> Result:
        return replace(undecided(Reason.REFERENCE_UNUSABLE), request=replace(request(), reference=reference))

    for number in range(VERIFICATIONS_MIN):
        added(meter, unusable(Reference(image=b"a photo", sha256=f"{number}")))
    assert added(meter, unusable(Reference(url="https://photos.example/1.jpg", sha256="url")))
    inline = replace(MATCH, request=replace(request(), reference=Reference(image=b"a photo")))
    assert not added(meter, inline)


def test_add_unusable_photo_in_the_request_keeps_the_count_of_failed_downloads() -> None:
    meter = ResultMeter()
    for _ in range(VERIFICATIONS_MIN):
        added(meter, undecided(Reason.REFERENCE_UNREACHABLE))
    inline = replace(request(), reference=Reference(image=b"a photo", sha256="inline"))
    added(meter, replace(undecided(Reason.REFERENCE_UNUSABLE), request=inline))
    assert added(meter, replace(MATCH, request=inline)), "it shows nothing about the hosts of photos"
