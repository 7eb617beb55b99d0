"""Attempt limits: too many failed attempts or paid calls refuse a verification, fewer do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.attempt_limits import (
    DAY_MS,
    MINUTE_MS,
    PHOTO_FAILURES,
    AttemptLimits,
    FailedAttempts,
    PaidCalls,
)
from agent.core.model import Reference
from agent.core.reasons import Reason

LIMITS = AttemptLimits(failures=3, failures_within_ms=1_000, pause_ms=5_000)
PHOTO, OTHER_PHOTO = (
    Reference(url="https://photos/1", sha256="aa" * 32),
    Reference(url="https://photos/2", sha256="bb" * 32),
)
WRONG_FACE = Reason.DIFFERENT_PERSON


def failing(attempts: FailedAttempts, reference: Reference, *moments_ms: int) -> FailedAttempts:
    for at_ms in moments_ms:
        attempts.record_end(reference, WRONG_FACE, at_ms)
    return attempts


def test_attempts_below_the_limit_start_no_pause() -> None:
    assert not failing(FailedAttempts(LIMITS), PHOTO, 0, 1).is_paused(PHOTO, 2)


def test_attempts_at_the_limit_start_a_pause_that_ends() -> None:
    attempts = failing(FailedAttempts(LIMITS), PHOTO, 0, 500, 1_000)
    assert attempts.is_paused(PHOTO, 1_000)
    assert attempts.is_paused(PHOTO, 5_999)
    assert not attempts.is_paused(PHOTO, 6_000)
    assert not failing(attempts, PHOTO, 6_000, 6_001).is_paused(PHOTO, 6_002), "the count restarts"
    assert failing(attempts, PHOTO, 6_003).is_paused(PHOTO, 6_004)


def test_attempts_further_apart_than_the_window_start_no_pause() -> None:
    assert not failing(FailedAttempts(LIMITS), PHOTO, 0, 500, 1_001).is_paused(PHOTO, 1_001)


def test_attempts_with_different_photos_pause_the_terminal() -> None:
    attempts = FailedAttempts(LIMITS)
    for number in range(3):
        attempts.record_end(Reference(url="x", sha256=f"{number:064x}"), WRONG_FACE, number)
    assert attempts.is_paused(PHOTO, 3), "a person tries one enrolled photo after the other"


def test_attempts_with_two_photos_pause_the_terminal_without_a_pause_of_a_photo() -> None:
    attempts = failing(FailedAttempts(LIMITS), PHOTO, 0)
    failing(attempts, OTHER_PHOTO, 1, 2)
    assert attempts.is_paused(OTHER_PHOTO, 3)
    assert not attempts.is_paused(OTHER_PHOTO, 5_002)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in PHOTO_FAILURES])
def test_attempts_with_other_reasons_are_not_counted(reason: Reason) -> None:
    attempts = FailedAttempts(LIMITS)
    for at_ms in range(10):
        attempts.record_end(PHOTO, reason, at_ms)
    assert not attempts.is_paused(PHOTO, 10)


def test_challenges_that_are_not_completed_pause_the_photo_and_not_the_terminal() -> None:
    """A film of the holder passes after enough attempts. A slow payer does not stop the next payer."""
    attempts = FailedAttempts(LIMITS)
    for at_ms in range(3):
        attempts.record_end(PHOTO, Reason.LIVENESS_NOT_COMPLETED, at_ms)
    assert attempts.is_paused(PHOTO, 3)
    assert not attempts.is_paused(OTHER_PHOTO, 3) and attempts.terminal_pause_ms(3) == 0


def test_match_removes_the_failures_of_the_photo_and_not_of_the_terminal() -> None:
    attempts = failing(FailedAttempts(LIMITS), PHOTO, 0, 1)
    attempts.record_end(PHOTO, Reason.SAME_PERSON, 2)
    assert failing(attempts, PHOTO, 3).is_paused(OTHER_PHOTO, 4)


def test_match_ends_the_count_of_challenges_that_were_not_completed() -> None:
    attempts = FailedAttempts(LIMITS)
    not_completed, match = Reason.LIVENESS_NOT_COMPLETED, Reason.SAME_PERSON
    for at_ms, reason in enumerate((not_completed, not_completed, match, not_completed, not_completed)):
        attempts.record_end(PHOTO, reason, at_ms)
    assert not attempts.is_paused(PHOTO, 5), "two since the match"
    attempts.record_end(PHOTO, not_completed, 5)
    assert attempts.is_paused(PHOTO, 6)


def test_other_limits_keep_counted_attempts_and_calls() -> None:
    attempts = failing(FailedAttempts(LIMITS), PHOTO, 0, 1)
    attempts.set_limits(replace(LIMITS, failures=5))
    assert not failing(attempts, PHOTO, 2, 3).is_paused(PHOTO, 4), "four of five"
    attempts.set_limits(replace(LIMITS, failures=2))
    assert failing(attempts, PHOTO, 5).is_paused(PHOTO, 6), "two, with the attempt before"
    paid_calls = PaidCalls(AttemptLimits(calls_per_minute=2), 0)
    paid_calls.record_call(0)
    paid_calls.set_limits(AttemptLimits(calls_per_minute=1))
    assert not paid_calls.may_call(1)


def test_limit_of_zero_disables_the_limit() -> None:
    attempts = failing(FailedAttempts(replace(LIMITS, failures=0)), PHOTO, *range(100))
    assert not attempts.is_paused(PHOTO, 100)
    paid_calls = PaidCalls(
        AttemptLimits(calls_per_minute=0, calls_per_day=0, calls_per_day_warning=0), 0, 10**6
    )
    assert paid_calls.may_call(0)
    assert not paid_calls.is_high(0)


def test_photo_with_a_new_failure_is_not_the_first_to_be_removed() -> None:
    attempts = FailedAttempts(LIMITS)

    def fail(number: int) -> Reference:
        reference = Reference(url="x", sha256=f"{number:064x}")
        attempts.record_end(reference, Reason.LIVENESS_NOT_COMPLETED, 0)
        return reference

    for number in (*range(1_000), 0, 1_000):  # one more than are stored
        fail(number)
    assert attempts.is_paused(fail(0), 0), "its third failure"


def test_warning_ends_a_day_after_the_last_call() -> None:
    paid_calls = PaidCalls(AttemptLimits(calls_per_day_warning=1), 0)
    paid_calls.record_call(0)
    assert paid_calls.is_high(DAY_MS)
    assert not paid_calls.is_high(DAY_MS + 600_000)


def test_stored_attempts_are_bounded() -> None:
    attempts = FailedAttempts(replace(LIMITS, failures=2))
    for number in range(3_000):
        attempts.record_end(Reference(url="x", sha256=f"{number:064x}"), WRONG_FACE, number * 10_000)
    assert len(attempts._failures) <= 1_001  # the bound is the point here


@given(st.lists(st.integers(0, 3 * MINUTE_MS), max_size=60), st.integers(1, 10))
def test_calls_in_any_minute_stay_within_the_limit(moments_ms: list[int], most: int) -> None:
    paid_calls = PaidCalls(AttemptLimits(calls_per_minute=most, calls_per_day=0), 0)
    made: list[int] = []
    for at_ms in sorted(moments_ms):
        if paid_calls.may_call(at_ms):
            paid_calls.record_call(at_ms)
            made.append(at_ms)
    for end_ms in made:
        assert sum(end_ms - MINUTE_MS < at_ms <= end_ms for at_ms in made) <= most


@given(st.lists(st.integers(0, 3 * DAY_MS), max_size=80), st.integers(1, 10), st.integers(0, 12))
def test_calls_in_any_day_stay_within_the_limit(moments_ms: list[int], most: int, earlier: int) -> None:
    paid_calls = PaidCalls(AttemptLimits(calls_per_minute=0, calls_per_day=most), 0, earlier)
    made = [0] * earlier
    for at_ms in sorted(moments_ms):
        if paid_calls.may_call(at_ms):
            paid_calls.record_call(at_ms)
            made.append(at_ms)
    for end_ms in made[earlier:]:
        assert sum(end_ms - DAY_MS < at_ms <= end_ms for at_ms in made) <= most


def test_calls_are_allowed_again_after_a_day_and_the_warning_precedes_the_limit() -> None:
    paid_calls = PaidCalls(
        AttemptLimits(calls_per_minute=0, calls_per_day=4, calls_per_day_warning=3), 0, earlier=2
    )
    assert not paid_calls.is_high(0)
    paid_calls.record_call(0)
    assert paid_calls.is_high(0)
    assert paid_calls.may_call(0)
    paid_calls.record_call(0)
    assert not paid_calls.may_call(DAY_MS - 1)
    assert paid_calls.may_call(DAY_MS + 600_000)
    assert not paid_calls.is_high(DAY_MS + 600_000)


def test_reserved_call_counts_towards_the_limit_of_the_day() -> None:
    paid_calls = PaidCalls(AttemptLimits(calls_per_minute=0, calls_per_day=1), 0)
    assert paid_calls.reserve(0) and not paid_calls.reserve(0)


def test_released_call_is_free_again_in_both_limits() -> None:
    paid_calls = PaidCalls(AttemptLimits(calls_per_minute=1, calls_per_day=0), 0)
    for now_ms in range(3):
        assert paid_calls.reserve(now_ms) and not paid_calls.reserve(now_ms), "a reserved call counts as made"
        paid_calls.release()
    assert paid_calls.reserve(3)
    paid_calls.record_call(3)
    paid_calls.release()
    assert not paid_calls.may_call(3)


def test_call_counts_for_a_whole_day_and_not_for_a_period_more() -> None:
    """The calls of ten minutes are counted together: a call at their end must not expire with the first."""
    paid_calls = PaidCalls(AttemptLimits(calls_per_minute=0, calls_per_day=1), 0)
    paid_calls.record_call(599_999)
    assert not paid_calls.may_call(599_999 + DAY_MS)
    assert paid_calls.may_call(600_000 + DAY_MS)


def test_count_restarts_after_a_pause_that_is_shorter_than_the_period() -> None:
    limits = replace(LIMITS, pause_ms=10)
    attempts = failing(FailedAttempts(limits), PHOTO, 0, 1, 2)
    assert attempts.is_paused(PHOTO, 11) and not attempts.is_paused(PHOTO, 12)
    assert not failing(attempts, PHOTO, 20, 21).is_paused(PHOTO, 22)
    assert failing(attempts, PHOTO, 22).is_paused(PHOTO, 23)


def test_call_counts_for_exactly_one_minute() -> None:
    paid_calls = PaidCalls(AttemptLimits(calls_per_minute=1), 0)
    paid_calls.record_call(0)
    assert not paid_calls.may_call(MINUTE_MS - 1) and paid_calls.may_call(MINUTE_MS)
