"""Gap, same person, other person: a gap loses no answer, and nothing unclear ends in a match."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.attempt_limits import FAILURES
from agent.core.reasons import Continuity, Decision, FrameReason, Reason
from agent.core.steps import (
    CallAnswered,
    CallFailed,
    CameraFailed,
    CancelCall,
    Comparing,
    Event,
    Finished,
    FrameAnalyzed,
    Limits,
    Seeking,
    StartCall,
    State,
    Ticked,
)
from agent.core.verification import advance, begin, wake_at
from agent.errors import Retry
from tests.core.stories import DEADLINE_MS, answer, ending, play, saw, saw_shot, unknown

YES, NO = answer(93.0), answer(20.0)
ASKED: list[Event] = [saw_shot(1_000), saw(1_500, FrameReason.FOLLOWED, 1), Ticked(1_600)]
LATE = CallAnswered(2_000, 1, YES)  # 500 ms after the newest frame
SAME = saw(2_050, FrameReason.FOLLOWED, 1)
OTHER = saw_shot(2_050, track=2)
UNPLACED = unknown(saw(2_050, FrameReason.TURNED), None)
NEW_TRACK = unknown(saw_shot(2_050), 2)
GONE = saw(2_050, FrameReason.NO_FACE)


@pytest.mark.parametrize(
    ("story", "decision", "reason"),
    [
        pytest.param([LATE], "open", "Comparing", id="a match after a gap waits"),
        pytest.param([LATE, SAME], "match", "same_person", id="and is confirmed by the same person"),
        pytest.param([LATE, OTHER], "undecided", "face_swapped", id="another person after the gap"),
        pytest.param([LATE, UNPLACED], "open", "Comparing", id="an unplaced face confirms nothing"),
        pytest.param([LATE, UNPLACED, saw(2_150, FrameReason.SHOT, 1)], "match", "same_person", id="later"),
        pytest.param([LATE, NEW_TRACK], "open", "Seeking", id="an unknown track needs a new shot"),
        pytest.param([LATE, GONE, Ticked(DEADLINE_MS)], "undecided", "face_lost", id="gone in the gap"),
        pytest.param(
            [LATE, GONE, saw(4_000, FrameReason.NO_FACE)], "undecided", "face_lost", id="gone for 2 s"
        ),
        pytest.param([LATE, saw(1_700, FrameReason.FOLLOWED, 1)], "open", "Comparing", id="an old frame"),
        pytest.param(
            [LATE, CameraFailed(2_100, Reason.CAMERA_FROZEN)], "undecided", "camera_frozen", id="no camera"
        ),
        pytest.param([LATE, CallAnswered(2_010, 1, NO), SAME], "match", "same_person", id="one answer only"),
        pytest.param([LATE, CallFailed(2_010, 1, Reason.COMPARE_BUSY, Retry.NEVER)], "open", "Comparing"),
        pytest.param([LATE, Ticked(4_200)], "open", "Comparing", id="its question times out no more"),
        pytest.param(
            [CallAnswered(2_000, 1, NO)], "no_match", "different_person", id="a refusal never waits"
        ),
        pytest.param(
            [saw(1_700, FrameReason.NO_FACE), CallAnswered(1_800, 1, YES)],
            "match",
            "same_person",
            id="leaving while frames arrive changes nothing (documented residual risk)",
        ),
        pytest.param(
            [unknown(saw(1_650, FrameReason.TURNED), None), CallAnswered(1_700, 1, YES)],
            "open",
            "Comparing",
            id="a face that is not placed keeps the match open",
        ),
        pytest.param([unknown(saw_shot(1_700), 2), LATE], "open", "Seeking", id="old answer, new shot"),
        pytest.param(
            [CallFailed(1_700, 1, Reason.COMPARE_BUSY, Retry.SAME), unknown(saw_shot(1_800), 2)],
            "open",
            "Seeking",
            id="in the pause before the next question",
        ),
    ],
)
def test_story(story: list[Event], decision: str, reason: str) -> None:
    assert ending([*ASKED, *story]) == (decision, reason)


def test_an_unknown_track_closes_the_question_and_keeps_its_number() -> None:
    steps = play([*ASKED, NEW_TRACK, saw_shot(2_100), Ticked(2_700)])
    assert CancelCall(1) in steps[3][1]
    (ask,) = (effect for effect in steps[-1][1] if isinstance(effect, StartCall))
    assert ask.number == 2


def test_the_last_question_on_an_unknown_track_is_face_lost_and_no_failed_attempt() -> None:
    assert ending([*ASKED, NEW_TRACK], Limits(max_asks=1)) == ("undecided", "face_lost")
    assert Reason.FACE_LOST not in FAILURES


@pytest.mark.parametrize("passed", [True, False])
def test_an_unknown_track_in_front_of_a_challenge_is_another_try(passed: bool) -> None:
    from tests.core.test_challenge import LEFT, TURNED, Story, limits

    story = Story(limits((LEFT,), (LEFT,))).look().steady().wait(200)
    if passed:
        story.look(TURNED, times=2).look()
    story.send(unknown(saw_shot(story.at_ms), 2))
    assert isinstance(story.state, Seeking)
    assert story.asks == 0


# --- invariants -------------------------------------------------------------------------------------


@st.composite
def frames(draw: st.DrawFn, at_ms: int, track: int, tracks: tuple[Continuity, ...]) -> FrameAnalyzed:
    """A frame of the track so far, of a new track of the given kinds, or of a face that is not placed."""
    kind = draw(st.sampled_from([*[Continuity.SAME] * 4, *tracks]))
    number = track if kind is Continuity.SAME else track + 1
    good = draw(st.booleans())
    looked = saw_shot(at_ms, 95.0, number) if good else saw(at_ms, FrameReason.FOLLOWED, number)
    if kind is Continuity.UNKNOWN:
        return unknown(looked, draw(st.sampled_from([number, None])))
    return replace(looked, analysis=replace(looked.analysis, continuity=kind))


@st.composite
def lives(draw: st.DrawFn, tracks: tuple[Continuity, ...]) -> tuple[list[tuple[State, Event]], Finished]:
    """One verification with frames, gaps and an API that always says yes."""
    state: State = begin(DEADLINE_MS)
    limits, at_ms, track, past = Limits(), 0, 1, list[tuple[State, Event]]()
    due: list[CallAnswered] = []
    while not isinstance(state, Finished):
        at_ms += draw(st.sampled_from([30, 100, 100, 333, 500, 1_000, 2_000]))  # frame periods and gaps
        looked = draw(frames(at_ms, track, tracks))
        track = looked.analysis.track or track
        events: list[Event] = [*due, looked] if draw(st.booleans()) else [looked, *due]
        due = []
        if wake_at(state) <= at_ms:
            events.insert(draw(st.sampled_from([0, len(events)])), Ticked(at_ms))
        for event in events:
            past.append((state, replace(event, at_ms=at_ms)))
            state, effects = advance(state, past[-1][1], limits)
            due += [
                CallAnswered(at_ms, effect.number, YES) for effect in effects if isinstance(effect, StartCall)
            ]
            if isinstance(state, Finished):
                break
    return past, state


@given(lives((Continuity.UNKNOWN,)))
def test_no_series_of_gaps_with_one_person_is_face_swapped(life: tuple[object, Finished]) -> None:
    assert life[1].reason is not Reason.FACE_SWAPPED


@given(lives((Continuity.OTHER, Continuity.UNKNOWN)))
def test_a_match_is_about_the_track_of_its_shot_and_of_the_newest_face(
    life: tuple[list[tuple[State, Event]], Finished],
) -> None:
    """Between the sent shot and the match no other face was placed, and the newest frame is fresh."""
    past, end = life
    if end.decision is not Decision.MATCH:
        return
    state, event = past[-1]
    assert isinstance(state, Comparing)
    shot_ms, track = state.best.frame.captured_ms, state.best.track
    since = [seen.analysis for _, seen in past if isinstance(seen, FrameAnalyzed) and seen.at_ms >= shot_ms]
    assert {seen.track for seen in since} <= {track, None}
    newest = since[-1]
    assert newest.track == track
    assert event.at_ms - newest.captured_ms <= Limits().fresh_ms


@given(lives((Continuity.OTHER,)))
def test_another_person_after_the_question_is_face_swapped(
    life: tuple[list[tuple[State, Event]], Finished],
) -> None:
    past, end = life
    for state, event in past:
        if not isinstance(state, Comparing) or not isinstance(event, FrameAnalyzed):
            continue
        if event.at_ms < DEADLINE_MS and event.analysis.track != state.best.track:
            assert end.reason is Reason.FACE_SWAPPED


def test_the_generator_reaches_matches_swaps_and_waiting_matches() -> None:
    """Guards the tests above: without such lives they would prove nothing."""
    ends, waited = list[Reason](), 0

    @settings(derandomize=True, max_examples=150)  # it counts: chance must not decide
    @given(lives((Continuity.OTHER, Continuity.UNKNOWN)))
    def walk(life: tuple[list[tuple[State, Event]], Finished]) -> None:
        nonlocal waited
        ends.append(life[1].reason)
        waited += any(isinstance(state, Comparing) and state.answer is not None for state, _ in life[0])

    walk()
    assert ends.count(Reason.SAME_PERSON) >= 5
    assert ends.count(Reason.FACE_SWAPPED) >= 5
    assert waited >= 5
