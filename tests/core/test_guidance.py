"""Guidance: one hint at a time, each displayed long enough."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.challenge_plan import NEXT_WAIT_MS, Turn, TurnSide
from agent.core.guidance import HOLD_MS, ShownHint, next_hint, prompt_of
from agent.core.model import Analysis
from agent.core.reasons import FrameReason, Guidance
from agent.core.verification_types import Challenging, Event, FrameAnalyzed, Limits
from tests.core.test_challenge import LEFT, Scenario, limits


class Watched(Scenario):
    """A scenario that derives the hints as the runner does."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.hints = [ShownHint()]

    def send(self, event: Event) -> Watched:
        super().send(event)
        analysis = event.analysis if isinstance(event, FrameAnalyzed) else None
        hint = next_hint(self.hints[-1], analysis, self.at_ms, prompt_of(self.state))
        if hint is not self.hints[-1]:
            self.hints = [*(each for each in self.hints if each.guidance), hint]
        return self


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


@pytest.mark.parametrize("prompt", [Guidance.TURN_LEFT, Guidance.TURN_RIGHT])
def test_the_next_prompt_of_the_challenge_replaces_a_prompt_to_turn_at_once(prompt: Guidance) -> None:
    turned = ShownHint(prompt, 1)
    assert next_hint(turned, None, 2, Guidance.LOOK_STRAIGHT) == ShownHint(Guidance.LOOK_STRAIGHT, 2)
    assert next_hint(turned, analysis(FrameReason.BLURRED), HOLD_MS) is turned, "a hint of a frame waits"


@pytest.mark.parametrize("wait_ms", [*range(*NEXT_WAIT_MS, 50), NEXT_WAIT_MS[1]])
def test_a_fast_payer_receives_each_of_two_prompts_to_the_same_side(wait_ms: int) -> None:
    """The head is straight again 600 ms after the first prompt: within the hold time of that prompt."""
    scenario = Watched(limits((LEFT, Turn(TurnSide.LEFT, wait_ms))))
    scenario.look().steady()
    for yaw in (0.0, 0.0, 14.0, 27.0, 27.0, 9.0):
        scenario.look(yaw)
    assert isinstance(scenario.state, Challenging) and scenario.state.progress.turn == 1
    scenario.look(9.0, times=3)
    prompts = [(each.since_ms, each.guidance) for each in scenario.hints]
    assert [guidance for _, guidance in prompts] == ["look_straight", "turn_left"] * 2
    assert prompts[3][0] - prompts[2][0] >= NEXT_WAIT_MS[0]


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
