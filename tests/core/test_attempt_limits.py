"""Too many failed tries, too many paid calls: the guard says no first, and only then."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.attempt_limits import DAY_MS, FAILURES, MINUTE_MS, Attempts, GuardLimits, Spending
from agent.core.model import Reference
from agent.core.reasons import Reason

LIMITS = GuardLimits(failures=3, failures_within_ms=1_000, pause_ms=5_000)
HERS, HIS = (
    Reference(url="https://photos/1", sha256="aa" * 32),
    Reference(url="https://photos/2", sha256="bb" * 32),
)
NOT_HIM = Reason.DIFFERENT_PERSON


def failing(attempts: Attempts, reference: Reference, *moments_ms: int) -> Attempts:
    for at_ms in moments_ms:
        attempts.ended(reference, NOT_HIM, at_ms)
    return attempts


def test_one_try_fewer_than_too_many_changes_nothing() -> None:
    assert not failing(Attempts(LIMITS), HERS, 0, 1).is_paused(HERS, 2)


def test_too_many_failed_tries_begin_a_pause_that_ends_by_itself() -> None:
    attempts = failing(Attempts(LIMITS), HERS, 0, 500, 1_000)
    assert attempts.is_paused(HERS, 1_000)
    assert attempts.is_paused(HERS, 5_999)
    assert not attempts.is_paused(HERS, 6_000)
    assert not failing(attempts, HERS, 6_000, 6_001).is_paused(HERS, 6_002), "one counts anew"
    assert failing(attempts, HERS, 6_003).is_paused(HERS, 6_004)


def test_tries_further_apart_than_the_window_begin_no_pause() -> None:
    assert not failing(Attempts(LIMITS), HERS, 0, 500, 1_001).is_paused(HERS, 1_001)


def test_different_photos_tried_one_after_the_other_pause_the_terminal() -> None:
    attempts = Attempts(LIMITS)
    for number in range(3):
        attempts.ended(Reference(url="x", sha256=f"{number:064x}"), NOT_HIM, number)
    assert attempts.is_paused(HERS, 3), "somebody tries through the enrolled photos"


def test_the_terminals_pause_does_not_need_the_photos_own() -> None:
    attempts = failing(Attempts(LIMITS), HERS, 0)
    failing(attempts, HIS, 1, 2)
    assert attempts.is_paused(HIS, 3)
    assert not attempts.is_paused(HIS, 5_002)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in FAILURES])
def test_only_a_wrong_person_or_no_person_at_all_counts_as_a_failed_try(reason: Reason) -> None:
    attempts = Attempts(LIMITS)
    for at_ms in range(10):
        attempts.ended(HERS, reason, at_ms)
    assert not attempts.is_paused(HERS, 10)


def test_a_match_forgives_the_photos_tries_and_not_the_terminals() -> None:
    attempts = failing(Attempts(LIMITS), HERS, 0, 1)
    attempts.ended(HERS, Reason.SAME_PERSON, 2)
    assert failing(attempts, HERS, 3).is_paused(HIS, 4)


def test_other_limits_forget_nothing_that_happened() -> None:
    attempts = failing(Attempts(LIMITS), HERS, 0, 1)
    attempts.use(replace(LIMITS, failures=5))
    assert not failing(attempts, HERS, 2, 3).is_paused(HERS, 4), "four of five"
    attempts.use(replace(LIMITS, failures=2))
    assert failing(attempts, HERS, 5).is_paused(HERS, 6), "with the one before it that makes two"
    spending = Spending(GuardLimits(calls_per_minute=2), 0)
    spending.called(0)
    spending.use(GuardLimits(calls_per_minute=1))
    assert not spending.may_call(1)


def test_no_limit_is_no_limit() -> None:
    attempts = failing(Attempts(replace(LIMITS, failures=0)), HERS, *range(100))
    assert not attempts.is_paused(HERS, 100)
    spending = Spending(GuardLimits(calls_per_minute=0, calls_per_day=0, calls_per_day_warning=0), 0, 10**6)
    assert spending.may_call(0)
    assert not spending.is_high(0)


def test_what_is_remembered_stays_bounded_and_a_pause_survives_the_crowd() -> None:
    attempts = Attempts(replace(LIMITS, failures=2))
    for number in range(3_000):
        attempts.ended(Reference(url="x", sha256=f"{number:064x}"), NOT_HIM, number * 10_000)
    assert len(attempts._failures) <= 1_001  # the bound is the point here


@given(st.lists(st.integers(0, 3 * MINUTE_MS), max_size=60), st.integers(1, 10))
def test_no_minute_ever_sees_more_calls_than_its_limit(moments_ms: list[int], most: int) -> None:
    spending = Spending(GuardLimits(calls_per_minute=most, calls_per_day=0), 0)
    made: list[int] = []
    for at_ms in sorted(moments_ms):
        if spending.may_call(at_ms):
            spending.called(at_ms)
            made.append(at_ms)
    for end_ms in made:
        assert sum(end_ms - MINUTE_MS < at_ms <= end_ms for at_ms in made) <= most


@given(st.lists(st.integers(0, 3 * DAY_MS), max_size=80), st.integers(1, 10), st.integers(0, 12))
def test_no_day_ever_sees_more_calls_than_its_limit(moments_ms: list[int], most: int, earlier: int) -> None:
    spending = Spending(GuardLimits(calls_per_minute=0, calls_per_day=most), 0, earlier)
    made = [0] * earlier
    for at_ms in sorted(moments_ms):
        if spending.may_call(at_ms):
            spending.called(at_ms)
            made.append(at_ms)
    for end_ms in made[earlier:]:
        assert sum(end_ms - DAY_MS < at_ms <= end_ms for at_ms in made) <= most


def test_a_day_later_calls_are_possible_again_and_the_warning_comes_before_the_stop() -> None:
    spending = Spending(
        GuardLimits(calls_per_minute=0, calls_per_day=4, calls_per_day_warning=3), 0, earlier=2
    )
    assert not spending.is_high(0)
    spending.called(0)
    assert spending.is_high(0)
    assert spending.may_call(0)
    spending.called(0)
    assert not spending.may_call(DAY_MS - 1)
    assert spending.may_call(DAY_MS + 600_000)
    assert not spending.is_high(DAY_MS + 600_000)
