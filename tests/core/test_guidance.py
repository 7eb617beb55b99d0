"""Guidance: one hint at a time, each displayed long enough."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.guidance import HOLD_MS, ShownHint, next_hint
from agent.core.model import Analysis
from agent.core.reasons import FrameReason, Guidance


def analysis(reason: FrameReason, hint: Guidance | None = None) -> Analysis:
    return Analysis(1, 0, reason, hint=hint)


def test_first_hint_is_displayed_at_once() -> None:
    assert next_hint(ShownHint(), analysis(FrameReason.TOO_SMALL), 5).guidance is Guidance.COME_CLOSER


def test_hint_is_displayed_for_the_hold_time() -> None:
    shown = next_hint(ShownHint(), analysis(FrameReason.TOO_SMALL), 0)
    assert next_hint(shown, analysis(FrameReason.BLURRED), HOLD_MS - 1) is shown
    assert next_hint(shown, analysis(FrameReason.BLURRED), HOLD_MS).guidance is Guidance.HOLD_STILL


def test_hint_of_the_analysis_has_priority() -> None:
    assert (
        next_hint(ShownHint(), analysis(FrameReason.OFF_CENTRE, Guidance.MOVE_LEFT), 0).guidance
        is Guidance.MOVE_LEFT
    )


def test_idle_frame_gives_no_hint() -> None:
    assert next_hint(ShownHint(), analysis(FrameReason.IDLE), 0) == ShownHint()


@pytest.mark.parametrize("prompt", [Guidance.TURN_LEFT, Guidance.TURN_RIGHT])
def test_a_prompt_to_turn_is_displayed_at_once(prompt: Guidance) -> None:
    """The reaction time of the challenge counts from the prompt."""
    shown = next_hint(ShownHint(), None, 0, Guidance.LOOK_STRAIGHT)
    assert next_hint(shown, None, 1, prompt) == ShownHint(prompt, 1)
    turned = ShownHint(prompt, 1)
    assert next_hint(turned, None, HOLD_MS, Guidance.LOOK_STRAIGHT) is turned, "readable for its time"


@given(st.lists(st.tuples(st.sampled_from(FrameReason), st.integers(0, 300)), max_size=60))
def test_changes_are_never_closer_than_the_hold(frames: list[tuple[FrameReason, int]]) -> None:
    shown, at_ms, changes = ShownHint(), 0, []
    for reason, step_ms in frames:
        at_ms += step_ms
        after = next_hint(shown, analysis(reason), at_ms)
        if after is not shown:
            changes.append(at_ms)
            assert after.guidance is not shown.guidance
        shown = after
    assert all(later - earlier >= HOLD_MS for earlier, later in itertools.pairwise(changes))
