"""A terminal that hammers nobody: local limit and circuit breaker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.circuit_breaker import BURST, FAULTS_TO_OPEN, PAUSE_MS, CircuitBreaker
from agent.core.reasons import Reason
from agent.errors import CompareError, CompareUnreachable, Retry

FAULT = CompareError("HTTP 502", code=Reason.COMPARE_FAILED)


def opened(now_ms: int = 0) -> CircuitBreaker:
    guard = CircuitBreaker(now_ms)
    for _ in range(FAULTS_TO_OPEN):
        guard.admit(now_ms)
        guard.failed(FAULT, now_ms)
    return guard


def test_faults_in_a_row_open_it_and_the_refusal_names_the_last_fault() -> None:
    guard = opened()
    with pytest.raises(CompareError) as caught:
        guard.admit(1)
    assert (caught.value.code, caught.value.retry) == (Reason.COMPARE_FAILED, Retry.BACKOFF)


def test_one_probe_per_pause() -> None:
    guard = opened()
    guard.admit(PAUSE_MS)
    with pytest.raises(CompareError):
        guard.admit(PAUSE_MS + 1)
    guard.admit(2 * PAUSE_MS)  # the first probe was cancelled and never told: the next pause has its own


def test_open_breaker_lets_the_first_question_of_a_verification_out_and_no_retry() -> None:
    guard = opened()
    guard.admit(1, is_first=True)
    guard.failed(FAULT, 2)
    with pytest.raises(CompareError):
        guard.admit(3)
    guard.admit(4, is_first=True)
    guard.answered()
    guard.admit(5)


def test_an_answer_closes_it_and_so_does_a_failure_that_is_no_fault() -> None:
    for news in (None, CompareError("no face", code=Reason.FACE_UNUSABLE)):
        guard = opened()
        guard.admit(PAUSE_MS)
        if news is None:
            guard.answered()
        else:
            guard.failed(news, PAUSE_MS)
        guard.admit(PAUSE_MS + 1)


def test_one_fault_less_keeps_it_closed() -> None:
    guard = CircuitBreaker(0)
    for _ in range(FAULTS_TO_OPEN - 1):
        guard.failed(CompareUnreachable("reset"), 0)
    guard.admit(0)


def test_the_local_limit_is_busy_and_refills() -> None:
    guard = CircuitBreaker(0)
    for _ in range(BURST):
        guard.admit(0)
    with pytest.raises(CompareError) as caught:
        guard.admit(0)
    assert (caught.value.code, caught.value.retry) == (Reason.COMPARE_BUSY, Retry.BACKOFF)
    guard.admit(1_000)


@given(st.lists(st.tuples(st.integers(0, 3_000), st.sampled_from(["ok", "fault", "face"])), max_size=60))
def test_whatever_happened_a_question_gets_out_after_a_long_pause(steps: list[tuple[int, str]]) -> None:
    guard, now_ms = CircuitBreaker(0), 0
    for wait_ms, news in steps:
        now_ms += wait_ms
        try:
            guard.admit(now_ms)
        except CompareError:
            continue
        if news == "ok":
            guard.answered()
        else:
            error = FAULT if news == "fault" else CompareError("x", code=Reason.FACE_UNUSABLE)
            guard.failed(error, now_ms)
    guard.admit(now_ms + PAUSE_MS)
