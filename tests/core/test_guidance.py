"""One hint at a time, and not three in a second."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from agent.core.guidance import HOLD_MS, ShownHint, next_hint
from agent.core.model import Analysis
from agent.core.reasons import FrameReason, Guidance


def seen(reason: FrameReason, hint: Guidance | None = None) -> Analysis:
    return Analysis(1, 0, reason, hint=hint)


def test_the_first_hint_is_shown_at_once() -> None:
    assert next_hint(ShownHint(), seen(FrameReason.TOO_SMALL), 5).guidance is Guidance.COME_CLOSER


def test_a_hint_stays_long_enough_to_be_read() -> None:
    shown = next_hint(ShownHint(), seen(FrameReason.TOO_SMALL), 0)
    assert next_hint(shown, seen(FrameReason.BLURRED), HOLD_MS - 1) is shown
    assert next_hint(shown, seen(FrameReason.BLURRED), HOLD_MS).guidance is Guidance.HOLD_STILL


def test_the_eyes_own_wish_wins() -> None:
    assert (
        next_hint(ShownHint(), seen(FrameReason.OFF_CENTRE, Guidance.MOVE_LEFT), 0).guidance
        is Guidance.MOVE_LEFT
    )


def test_an_idle_frame_asks_nothing_of_anybody() -> None:
    assert next_hint(ShownHint(), seen(FrameReason.IDLE), 0) == ShownHint()


@given(st.lists(st.tuples(st.sampled_from(FrameReason), st.integers(0, 300)), max_size=60))
def test_changes_are_never_closer_than_the_hold(frames: list[tuple[FrameReason, int]]) -> None:
    shown, at_ms, changes = ShownHint(), 0, []
    for reason, step_ms in frames:
        at_ms += step_ms
        after = next_hint(shown, seen(reason), at_ms)
        if after is not shown:
            changes.append(at_ms)
            assert after.guidance is not shown.guidance
        shown = after
    assert all(later - earlier >= HOLD_MS for earlier, later in itertools.pairwise(changes))
