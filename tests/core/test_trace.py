"""Trace: replay repeats the recorded decision, and another policy decides as far as the recording allows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.model import Analysis, Detection
from agent.core.policy import PolicyLimits
from agent.core.policy_replay import CALL_NOT_RECORDED, ENDED, replay_with_policy
from agent.core.reasons import FrameReason, Reason
from agent.core.trace import Trace, reason_with_policy, replay, without_pixels
from agent.core.verification import advance, begin, wake_at
from agent.core.verification_types import (
    CallAnswered,
    CallFailed,
    Cancelled,
    Event,
    Finished,
    FrameAnalyzed,
    Limits,
    State,
    Ticked,
)
from agent.errors import Retry
from tests.core.builders import DEADLINE_MS, FACE, answer, answered, asks_of, even, frame_event, shot_event
from tests.core.test_verification import steered_events

LIMITS, POLICY = Limits(), PolicyLimits()
YES, NO = answer(93.0), answer(20.0)
STEPS_MS = st.sampled_from([0, 10, 100, 400, 400, 900, 2_600])


def trace(*events: Event, limits: Limits = LIMITS) -> Trace:
    return Trace(DEADLINE_MS, 0, limits, events)


VISIT = trace(shot_event(1_000), Ticked(1_600), *answered(2_000, 1, YES))


@st.composite
def recorded_verifications(draw: st.DrawFn) -> tuple[Trace, State]:
    """A recorded verification and its last state."""
    limits = Limits(max_asks=draw(st.integers(1, 4)), jitter=draw(st.floats(0, 1)))
    state: State = begin(DEADLINE_MS)
    events, at_ms = list[Event](), 0
    for _ in range(40):
        event = draw(steered_events(state, at_ms + draw(STEPS_MS)))
        at_ms = event.at_ms
        events.append(event)
        state, _ = advance(state, event, limits)
        if isinstance(state, Finished):
            break
    return trace(*events, limits=limits), state


@given(recorded_verifications())
def test_replay_ends_as_the_recorded_verification(scenario: tuple[Trace, State]) -> None:
    recorded, end = scenario
    again = replay(recorded)
    # as text: an answer may be NaN, which equals nothing, itself included
    assert repr(again.finished) == repr(end if isinstance(end, Finished) else None)
    assert len(again.call_starts_ms) == asks_of(end)


@given(recorded_verifications())
def test_trace_without_pixels_ends_the_same(scenario: tuple[Trace, State]) -> None:
    recorded, _ = scenario
    kept = replace(recorded, events=tuple(without_pixels(event) for event in recorded.events))
    shots = [event.analysis.shot for event in kept.events if isinstance(event, FrameAnalyzed)]
    assert all(shot is None or shot.frame.pixels is None for shot in shots)
    assert repr(replay(kept)) == repr(replay(recorded))


@st.composite
def punctual(draw: st.DrawFn) -> Trace:
    """A verification with exact timers, over frames whose measures explain their reasons."""
    state: State = begin(DEADLINE_MS)
    events, at_ms = list[Event](), 0
    looks = st.sampled_from(
        [shot_event(0), shot_event(0, 79), shot_event(0, 95), frame_event(0, FrameReason.NO_FACE)]
    )
    while not isinstance(state, Finished):
        at_ms += draw(st.sampled_from([100, 400, 700]))
        if wake_at(state) < at_ms:
            event: Event = Ticked(wake_at(state))
            at_ms = event.at_ms
        elif asks_of(state) and draw(st.booleans()):
            number = asks_of(state)
            busy = CallFailed(at_ms, number, Reason.COMPARE_BUSY, Retry.BACKOFF)
            answers: list[Event] = [busy, CallAnswered(at_ms, number, YES), CallAnswered(at_ms, number, NO)]
            event = draw(st.sampled_from(answers))
        else:
            analysis = draw(looks).analysis
            shot = analysis.shot and replace(
                analysis.shot, frame=replace(analysis.shot.frame, captured_ms=at_ms)
            )
            event = FrameAnalyzed(at_ms, replace(analysis, captured_ms=at_ms, shot=shot))
        events.append(event)
        state, _ = advance(state, event, LIMITS)
    return trace(*events)


@given(punctual())
def test_replay_with_the_same_policy_ends_the_same(recorded: Trace) -> None:
    replayed = replay_with_policy(recorded, POLICY, LIMITS)
    if replayed.finished is not None:
        assert replayed.finished == replay(recorded).finished
    else:
        assert replayed.unknown


WEAK = replace(even(60), sharpness=35)
SOFT = frame_event(1_000, FrameReason.SHOT, 1, WEAK)
SOFT_SHOT = FrameAnalyzed(
    1_000,
    replace(SOFT.analysis, shot=replace(shot_event(1_000).analysis.shot, quality=WEAK)),  # type: ignore[type-var]
)
STRICT = replace(POLICY, min_sharpness=50.0)
FAILED = (frame_event(1_000, FrameReason.BLURRED, 1, replace(even(60), sharpness=20)), Ticked(DEADLINE_MS))


@pytest.mark.parametrize(
    ("recorded", "policy", "ending", "asks"),
    [
        pytest.param(VISIT, POLICY, "match/same_person", 1, id="the same policy"),
        pytest.param(VISIT, STRICT, "match/same_person", 1, id="a stricter policy that accepts the shot"),
        pytest.param(
            trace(SOFT_SHOT, Ticked(1_600), CallAnswered(2_000, 1, YES), Ticked(DEADLINE_MS)),
            STRICT,
            "undecided/face_unusable",
            0,
            id="a stricter policy that refuses the only shot",
        ),
        pytest.param(
            trace(
                SOFT_SHOT,
                Ticked(1_600),
                shot_event(1_700, 95),
                shot_event(1_800),
                *answered(2_000, 1, YES),
                frame_event(2_150, FrameReason.FOLLOWED, 1),
            ),
            STRICT,
            "match/same_person",
            1,
            id="a stricter policy waits for the second shot, and the answer keeps its duration",
        ),
        pytest.param(
            trace(SOFT_SHOT, Ticked(1_600), *answered(2_000, 1, YES)),
            STRICT,
            ENDED,
            0,
            id="the decision lies after the end of the recording",
        ),
        pytest.param(
            trace(*FAILED),
            replace(POLICY, min_sharpness=10.0),
            CALL_NOT_RECORDED,
            1,
            id="a looser policy makes an API call that was not recorded",
        ),
        pytest.param(
            trace(shot_event(1_000), Cancelled(1_200)), STRICT, "undecided/cancelled", 0, id="cancelled"
        ),
        pytest.param(
            trace(
                shot_event(900), shot_event(1_000, 95), Ticked(3_500), Ticked(3_900), *answered(4_200, 2, YES)
            ),
            STRICT,
            "match/same_person",
            2,
            id="a recorded call without an answer stays unanswered",
        ),
        pytest.param(trace(), POLICY, ENDED, 0, id="an empty recording"),
    ],
)
def test_another_policy(recorded: Trace, policy: PolicyLimits, ending: str, asks: int) -> None:
    replayed = replay_with_policy(recorded, policy, LIMITS)
    done = replayed.finished
    assert (f"{done.decision}/{done.reason}" if done else replayed.unknown) == ending
    assert replayed.asks == asks


def moved(face: Detection, dx: float) -> Detection:
    return replace(face, box=replace(face.box, x_px=face.box.x_px + dx))


GOOD = shot_event(0).analysis


@pytest.mark.parametrize(
    ("analysis", "policy", "reason"),
    [
        pytest.param(GOOD, POLICY, FrameReason.SHOT, id="unchanged"),
        pytest.param(GOOD, replace(POLICY, min_sharpness=70.0), FrameReason.BLURRED, id="not sharp enough"),
        pytest.param(GOOD, replace(POLICY, zone_left=0.6), FrameReason.OFF_CENTRE, id="another payer zone"),
        pytest.param(
            replace(GOOD, others=(moved(FACE, 250),)),
            POLICY,
            FrameReason.MULTIPLE_FACES,
            id="two faces of the same size",
        ),
        pytest.param(
            replace(GOOD, reason=FrameReason.FOLLOWED, shot=None), POLICY, FrameReason.FOLLOWED, id="followed"
        ),
        pytest.param(replace(GOOD, quality=None), POLICY, None, id="an unmeasured face"),
        pytest.param(
            frame_event(0, FrameReason.NO_PRESENCE).analysis,
            POLICY,
            FrameReason.NO_PRESENCE,
            id="not analyzed",
        ),
    ],
)
def test_reason_with_policy_again(
    analysis: Analysis, policy: PolicyLimits, reason: FrameReason | None
) -> None:
    assert reason_with_policy(analysis, policy) is reason
