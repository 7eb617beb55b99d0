"""A recorded verification is decided again as it was; another policy is told as far as the recording goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.model import Analysis, Detection
from agent.core.policy import PolicyLimits
from agent.core.policy_replay import ENDED, UNASKED, under
from agent.core.reasons import FrameReason, Reason
from agent.core.steps import (
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
from agent.core.trace import Trace, bare, judge_again, replay
from agent.core.verification import advance, begin, wake_at
from agent.errors import Retry
from tests.core.stories import DEADLINE_MS, FACE, answer, answered, even, saw, saw_shot
from tests.core.test_verification import steered_events

LIMITS, POLICY = Limits(), PolicyLimits()
YES, NO = answer(93.0), answer(20.0)
STEPS_MS = st.sampled_from([0, 10, 100, 400, 400, 900, 2_600])


def trace(*events: Event, limits: Limits = LIMITS) -> Trace:
    return Trace(DEADLINE_MS, 0, limits, events)


VISIT = trace(saw_shot(1_000), Ticked(1_600), *answered(2_000, 1, YES))


@st.composite
def lived(draw: st.DrawFn) -> tuple[Trace, State]:
    """A verification as it happened, and the state it came to."""
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


@given(lived())
def test_decided_again_it_ends_as_it_did(story: tuple[Trace, State]) -> None:
    recorded, end = story
    again = replay(recorded)
    # as text: an answer may be NaN, which equals nothing, itself included
    assert repr(again.finished) == repr(end if isinstance(end, Finished) else None)
    assert len(again.asked_ms) == getattr(end, "asks", getattr(end, "asked", None))


@given(lived())
def test_what_is_kept_has_no_pixels_and_ends_the_same(story: tuple[Trace, State]) -> None:
    recorded, _ = story
    kept = replace(recorded, events=tuple(bare(event) for event in recorded.events))
    shots = [event.analysis.shot for event in kept.events if isinstance(event, FrameAnalyzed)]
    assert all(shot is None or shot.frame.pixels is None for shot in shots)
    assert repr(replay(kept)) == repr(replay(recorded))


@st.composite
def punctual(draw: st.DrawFn) -> Trace:
    """A verification whose timer is never late, over frames that their own measures explain."""
    state: State = begin(DEADLINE_MS)
    events, at_ms = list[Event](), 0
    looks = st.sampled_from([saw_shot(0), saw_shot(0, 79), saw_shot(0, 95), saw(0, FrameReason.NO_FACE)])
    while not isinstance(state, Finished):
        at_ms += draw(st.sampled_from([100, 400, 700]))
        if wake_at(state) < at_ms:
            event: Event = Ticked(wake_at(state))
            at_ms = event.at_ms
        elif getattr(state, "asked", 0) and draw(st.booleans()):
            number = getattr(state, "asked", 0)
            busy = CallFailed(at_ms, number, Reason.COMPARE_BUSY, Retry.BACKOFF)
            answers: list[Event] = [busy, CallAnswered(at_ms, number, YES), CallAnswered(at_ms, number, NO)]
            event = draw(st.sampled_from(answers))
        else:
            seen = draw(looks).analysis
            shot = seen.shot and replace(seen.shot, frame=replace(seen.shot.frame, captured_ms=at_ms))
            event = FrameAnalyzed(at_ms, replace(seen, captured_ms=at_ms, shot=shot))
        events.append(event)
        state, _ = advance(state, event, LIMITS)
    return trace(*events)


@given(punctual())
def test_the_same_policy_comes_to_the_same(recorded: Trace) -> None:
    told = under(recorded, POLICY, LIMITS)
    if told.finished is not None:
        assert told.finished == replay(recorded).finished
    else:
        assert told.unknown


WEAK = replace(even(60), sharpness=35)
SOFT = saw(1_000, FrameReason.SHOT, 1, WEAK)
SOFT_SHOT = FrameAnalyzed(
    1_000,
    replace(SOFT.analysis, shot=replace(saw_shot(1_000).analysis.shot, quality=WEAK)),  # type: ignore[type-var]
)
STRICT = replace(POLICY, min_sharpness=50.0)
FAILED = (saw(1_000, FrameReason.BLURRED, 1, replace(even(60), sharpness=20)), Ticked(DEADLINE_MS))


@pytest.mark.parametrize(
    ("recorded", "policy", "ending", "asks"),
    [
        pytest.param(VISIT, POLICY, "match/same_person", 1, id="the same policy"),
        pytest.param(VISIT, STRICT, "match/same_person", 1, id="a stricter one that the shot meets"),
        pytest.param(
            trace(SOFT_SHOT, Ticked(1_600), CallAnswered(2_000, 1, YES), Ticked(DEADLINE_MS)),
            STRICT,
            "undecided/face_unusable",
            0,
            id="a stricter one that refuses the only shot",
        ),
        pytest.param(
            trace(
                SOFT_SHOT,
                Ticked(1_600),
                saw_shot(1_700, 95),
                saw_shot(1_800),
                *answered(2_000, 1, YES),
                saw(2_150, FrameReason.FOLLOWED, 1),
            ),
            STRICT,
            "match/same_person",
            1,
            id="a stricter one waits for the second shot, and its answer comes as long after it",
        ),
        pytest.param(
            trace(SOFT_SHOT, Ticked(1_600), *answered(2_000, 1, YES)),
            STRICT,
            ENDED,
            0,
            id="nobody saw what came after the recording",
        ),
        pytest.param(
            trace(*FAILED),
            replace(POLICY, min_sharpness=10.0),
            UNASKED,
            1,
            id="a looser one asks what nobody asked",
        ),
        pytest.param(
            trace(saw_shot(1_000), Cancelled(1_200)), STRICT, "undecided/cancelled", 0, id="cancelled"
        ),
        pytest.param(
            trace(saw_shot(900), saw_shot(1_000, 95), Ticked(3_500), Ticked(3_900), *answered(4_200, 2, YES)),
            STRICT,
            "match/same_person",
            2,
            id="a question that nobody answered stays unanswered",
        ),
        pytest.param(trace(), POLICY, ENDED, 0, id="an empty recording"),
    ],
)
def test_another_policy(recorded: Trace, policy: PolicyLimits, ending: str, asks: int) -> None:
    told = under(recorded, policy, LIMITS)
    done = told.finished
    assert (f"{done.decision}/{done.reason}" if done else told.unknown) == ending
    assert told.asks == asks


def moved(face: Detection, dx: float) -> Detection:
    return replace(face, box=replace(face.box, x_px=face.box.x_px + dx))


GOOD = saw_shot(0).analysis


@pytest.mark.parametrize(
    ("seen", "policy", "reason"),
    [
        pytest.param(GOOD, POLICY, FrameReason.SHOT, id="as it was"),
        pytest.param(GOOD, replace(POLICY, min_sharpness=70.0), FrameReason.BLURRED, id="not sharp enough"),
        pytest.param(GOOD, replace(POLICY, zone_left=0.6), FrameReason.OFF_CENTRE, id="another payer zone"),
        pytest.param(
            replace(GOOD, others=(moved(FACE, 250),)), POLICY, FrameReason.MULTIPLE_FACES, id="two alike"
        ),
        pytest.param(
            replace(GOOD, reason=FrameReason.FOLLOWED, shot=None), POLICY, FrameReason.FOLLOWED, id="followed"
        ),
        pytest.param(replace(GOOD, quality=None), POLICY, None, id="a face nobody measured"),
        pytest.param(
            saw(0, FrameReason.NO_PRESENCE).analysis, POLICY, FrameReason.NO_PRESENCE, id="not looked at"
        ),
    ],
)
def test_a_frame_judged_again(seen: Analysis, policy: PolicyLimits, reason: FrameReason | None) -> None:
    assert judge_again(seen, policy) is reason
