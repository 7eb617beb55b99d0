"""Circuit breaker and local rate limit of API calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.circuit_breaker import BURST, FAULTS_TO_OPEN, PAUSE_MS, CircuitBreaker
from agent.core.reasons import Reason
from agent.errors import CompareError, CompareSlow, CompareUnreachable, Retry

FAULT = CompareError("HTTP 502", code=Reason.COMPARE_FAILED)


def opened(now_ms: int = 0) -> CircuitBreaker:
    breaker = CircuitBreaker(now_ms)
    for _ in range(FAULTS_TO_OPEN):
        breaker.admit(now_ms)
        breaker.failed(FAULT, now_ms)
    return breaker


def test_faults_in_a_row_open_the_breaker_and_the_refusal_names_the_last_fault() -> None:
    breaker = opened()
    with pytest.raises(CompareError) as caught:
        breaker.admit(1)
    assert (caught.value.code, caught.value.retry) == (Reason.COMPARE_FAILED, Retry.BACKOFF)


def test_refusal_after_slow_calls_is_slow_and_after_another_fault_is_not() -> None:
    breaker = opened()
    breaker.failed(CompareSlow("late"), 0)
    with pytest.raises(CompareSlow) as caught:
        breaker.admit(1)
    assert (caught.value.code, caught.value.retry) == (Reason.COMPARE_UNREACHABLE, Retry.BACKOFF)
    breaker.failed(CompareUnreachable("refused"), 2)
    with pytest.raises(CompareError) as other:
        breaker.admit(3)
    assert not isinstance(other.value, CompareSlow)


def test_one_probe_per_pause() -> None:
    breaker = opened()
    breaker.admit(PAUSE_MS)
    with pytest.raises(CompareError):
        breaker.admit(PAUSE_MS + 1)
    breaker.admit(2 * PAUSE_MS)  # a cancelled probe reports nothing


def test_open_breaker_admits_the_first_call_of_a_verification_and_no_retry() -> None:
    breaker = opened()
    breaker.admit(1, is_first=True)
    breaker.failed(FAULT, 2)
    with pytest.raises(CompareError):
        breaker.admit(3)
    breaker.admit(4, is_first=True)
    breaker.answered()
    breaker.admit(5)


def test_answer_or_failure_without_server_fault_closes_the_breaker() -> None:
    for failure in (None, CompareError("no face", code=Reason.FACE_UNUSABLE)):
        breaker = opened()
        breaker.admit(PAUSE_MS)
        if failure is None:
            breaker.answered()
        else:
            breaker.failed(failure, PAUSE_MS)
        breaker.admit(PAUSE_MS + 1)


def test_one_fault_less_keeps_the_breaker_closed() -> None:
    breaker = CircuitBreaker(0)
    for _ in range(FAULTS_TO_OPEN - 1):
        breaker.failed(CompareUnreachable("reset"), 0)
    breaker.admit(0)


def test_local_limit_is_busy_and_refills() -> None:
    breaker = CircuitBreaker(0)
    for _ in range(BURST):
        breaker.admit(0)
    with pytest.raises(CompareError) as caught:
        breaker.admit(0)
    assert (caught.value.code, caught.value.retry) == (Reason.COMPARE_BUSY, Retry.BACKOFF)
    breaker.admit(1_000)


@given(st.lists(st.tuples(st.integers(0, 3_000), st.sampled_from(["ok", "fault", "face"])), max_size=60))
def test_a_call_is_admitted_after_a_long_pause_in_every_state(steps: list[tuple[int, str]]) -> None:
    breaker, now_ms = CircuitBreaker(0), 0
    for wait_ms, outcome in steps:
        now_ms += wait_ms
        try:
            breaker.admit(now_ms)
        except CompareError:
            continue
        if outcome == "ok":
            breaker.answered()
        else:
            error = FAULT if outcome == "fault" else CompareError("x", code=Reason.FACE_UNUSABLE)
            breaker.failed(error, now_ms)
    breaker.admit(now_ms + PAUSE_MS)
