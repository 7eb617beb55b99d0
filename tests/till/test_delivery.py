"""What happens next to a stored result: a rule, as stories and for every number."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.ports import StoredResult
from agent.till.delivery import LONGEST_PAUSE_MS, RESEND_FOR_MS, Next, Tries, next_step, pause_ms

MARGIN_MS = 250
MATCH = StoredResult("till-1", "r-1", "id", 1, b"{}", True, deadline_ms=10_000)
UNDECIDED = replace(MATCH, is_match=False)
NEW = Tries(first_ms=5_000)


@pytest.mark.parametrize(
    ("stored", "tries", "now_ms", "step"),
    [
        pytest.param(MATCH, NEW, 5_000, Next.SEND, id="a fresh match"),
        pytest.param(MATCH, NEW, 9_750, Next.SEND, id="just in time"),
        pytest.param(MATCH, NEW, 9_751, Next.NOTIFY, id="a millisecond too late"),
        pytest.param(MATCH, Tries(5_000, 1, 5_000), 9_800, Next.NOTIFY, id="a re-send is held to the same"),
        pytest.param(replace(MATCH, deadline_ms=0), NEW, 5_000, Next.NOTIFY, id="another boot's match"),
        pytest.param(UNDECIDED, NEW, 20_000, Next.SEND, id="an undecided may come late"),
        pytest.param(MATCH, Tries(5_000, 1, 5_000), 5_999, Next.WAIT, id="the pause is not over"),
        pytest.param(MATCH, Tries(5_000, 1, 5_000), 6_000, Next.SEND, id="the pause is over"),
        pytest.param(
            UNDECIDED, Tries(5_000, 9, 5_000), 5_000 + RESEND_FOR_MS, Next.EXPIRE, id="nobody wants it"
        ),
    ],
)
def test_story(stored: StoredResult, tries: Tries, now_ms: int, step: Next) -> None:
    assert next_step(stored, tries, now_ms, MARGIN_MS) is step


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 50), st.integers(0, 10**9))
def test_a_match_never_leaves_without_its_margin(
    deadline_ms: int, now_ms: int, sent: int, last_ms: int
) -> None:
    step = next_step(replace(MATCH, deadline_ms=deadline_ms), Tries(0, sent, last_ms), now_ms, MARGIN_MS)
    assert step is not Next.SEND or deadline_ms - now_ms >= MARGIN_MS


def test_pauses_grow_and_are_bounded() -> None:
    pauses = [pause_ms(sent) for sent in range(1, 30)]
    assert pauses == sorted(pauses) and pauses[0] == 1_000 and pauses[-1] == LONGEST_PAUSE_MS
