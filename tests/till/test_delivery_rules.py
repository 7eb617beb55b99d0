"""The next step of a stored result: examples, and properties for all numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.ports import StoredResult
from agent.till.delivery_rules import (
    LONGEST_PAUSE_MS,
    RESEND_FOR_MS,
    DeliveryStep,
    PublishHistory,
    next_step,
    pause_ms,
)

MARGIN_MS = 250
MATCH = StoredResult("till-1", "r-1", "id", 1, b"{}", True, deadline_ms=10_000)
UNDECIDED = replace(MATCH, is_match=False)
NEW = PublishHistory(first_ms=5_000)
EXPIRED = PublishHistory(5_000, 2, 11_000, is_expired=True)


@pytest.mark.parametrize(
    ("stored", "history", "now_ms", "step"),
    [
        pytest.param(MATCH, NEW, 5_000, DeliveryStep.SEND, id="a fresh match"),
        pytest.param(MATCH, NEW, 9_750, DeliveryStep.SEND, id="just in time"),
        pytest.param(MATCH, NEW, 9_751, DeliveryStep.NOTIFY, id="a millisecond too late"),
        pytest.param(
            MATCH,
            PublishHistory(5_000, 1, 5_000),
            9_800,
            DeliveryStep.NOTIFY,
            id="the same rule for a repeat",
        ),
        pytest.param(
            replace(MATCH, deadline_ms=0), NEW, 5_000, DeliveryStep.NOTIFY, id="a match of another boot"
        ),
        pytest.param(UNDECIDED, NEW, 20_000, DeliveryStep.SEND, id="an undecided result may be late"),
        pytest.param(
            MATCH, PublishHistory(5_000, 1, 5_000), 5_999, DeliveryStep.WAIT, id="the pause is not over"
        ),
        pytest.param(
            MATCH, PublishHistory(5_000, 1, 5_000), 6_000, DeliveryStep.SEND, id="the pause is over"
        ),
        pytest.param(MATCH, EXPIRED, 12_999, DeliveryStep.WAIT, id="result_expired waits for its pause"),
        pytest.param(MATCH, EXPIRED, 13_000, DeliveryStep.NOTIFY, id="result_expired again"),
        pytest.param(MATCH, EXPIRED, 604_999, DeliveryStep.NOTIFY, id="just within the ten minutes"),
        pytest.param(MATCH, EXPIRED, 605_000, DeliveryStep.EXPIRE, id="the ten minutes are over"),
        pytest.param(
            UNDECIDED,
            PublishHistory(5_000, 9, 5_000),
            5_000 + RESEND_FOR_MS,
            DeliveryStep.EXPIRE,
            id="never acknowledged",
        ),
    ],
)
def test_next_step_example(
    stored: StoredResult, history: PublishHistory, now_ms: int, step: DeliveryStep
) -> None:
    assert next_step(stored, history, now_ms, MARGIN_MS) is step


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 50), st.integers(0, 10**9))
def test_next_step_match_is_sent_only_with_its_margin(
    deadline_ms: int, now_ms: int, sent: int, last_ms: int
) -> None:
    step = next_step(
        replace(MATCH, deadline_ms=deadline_ms), PublishHistory(0, sent, last_ms), now_ms, MARGIN_MS
    )
    assert step is not DeliveryStep.SEND or deadline_ms - now_ms >= MARGIN_MS


@given(st.integers(0, 10**6), st.integers(0, 50), st.integers(0, 10**6), st.booleans())
def test_next_step_late_match_is_notified_within_the_longest_pause(
    now_ms: int, sent: int, last_ms: int, expired: bool
) -> None:
    history = PublishHistory(0, sent, last_ms, expired)
    step = next_step(replace(MATCH, deadline_ms=0), history, now_ms, MARGIN_MS)
    assert (step is DeliveryStep.EXPIRE) == (now_ms >= RESEND_FOR_MS)
    assert step is not DeliveryStep.WAIT or now_ms - last_ms < LONGEST_PAUSE_MS


def test_pause_grows_and_is_bounded() -> None:
    pauses = [pause_ms(sent) for sent in range(1, 30)]
    assert pauses == sorted(pauses) and pauses[0] == 1_000 and pauses[-1] == LONGEST_PAUSE_MS
