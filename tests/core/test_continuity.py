"""Continuity after a gap: a gap loses no answer, and an unclear face is never a match."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.attempt_limits import PHOTO_FAILURES
from agent.core.reasons import Continuity, Decision, FrameReason, Reason
from agent.core.verification import advance, begin, wake_at
from agent.core.verification_types import (
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
from agent.errors import Retry
from tests.core.builders import DEADLINE_MS, answer, ending, frame_event, play, shot_event, unknown

YES, NO = answer(93.0), answer(20.0)
ASKED: list[Event] = [shot_event(1_000), frame_event(1_500, FrameReason.FOLLOWED, 1), Ticked(1_600)]
LATE = CallAnswered(2_000, 1, YES)  # 500 ms after the newest frame
SAME = frame_event(2_050, FrameReason.FOLLOWED, 1)
OTHER = shot_event(2_050, track=2)
UNPLACED = unknown(frame_event(2_050, FrameReason.TURNED), None)
NEW_TRACK = unknown(shot_event(2_050), 2)
GONE = frame_event(2_050, FrameReason.NO_FACE)


@pytest.mark.parametrize(
    ("scenario", "decision", "reason"),
    [
        pytest.param([LATE], "open", "Comparing", id="a match after a gap waits for a frame"),
        pytest.param(
            [LATE, SAME], "match", "same_person", id="a frame of the same person confirms the match"
        ),
        pytest.param([LATE, OTHER], "undecided", "face_swapped", id="another person after the gap"),
        pytest.param(
            [LATE, UNPLACED], "open", "Comparing", id="a face without a track does not confirm the match"
        ),
        pytest.param(
            [LATE, UNPLACED, frame_event(2_150, FrameReason.SHOT, 1)], "match", "same_person", id="later"
        ),
        pytest.param([LATE, NEW_TRACK], "open", "Seeking", id="an unknown track needs a new shot"),
        pytest.param([LATE, GONE, Ticked(DEADLINE_MS)], "undecided", "face_lost", id="gone in the gap"),
        pytest.param(
            [LATE, GONE, frame_event(4_000, FrameReason.NO_FACE)], "undecided", "face_lost", id="gone for 2 s"
        ),
        pytest.param(
            [LATE, frame_event(1_700, FrameReason.FOLLOWED, 1)], "open", "Comparing", id="an old frame"
        ),
        pytest.param(
            [LATE, CameraFailed(2_100, Reason.CAMERA_FROZEN)], "undecided", "camera_frozen", id="no camera"
        ),
        pytest.param([LATE, CallAnswered(2_010, 1, NO), SAME], "match", "same_person", id="one answer only"),
        pytest.param([LATE, CallFailed(2_010, 1, Reason.COMPARE_BUSY, Retry.NEVER)], "open", "Comparing"),
        pytest.param([LATE, Ticked(4_200)], "open", "Comparing", id="an answered call does not time out"),
        pytest.param(
            [CallAnswered(2_000, 1, NO)], "no_match", "different_person", id="a no_match never waits"
        ),
        pytest.param(
            [frame_event(1_700, FrameReason.NO_FACE), CallAnswered(1_800, 1, YES)],
            "match",
            "same_person",
            id="leaving between frames does not change the match (documented residual risk)",
        ),
        pytest.param(
            [unknown(frame_event(1_650, FrameReason.TURNED), None), CallAnswered(1_700, 1, YES)],
            "open",
            "Comparing",
            id="a face without a track delays the match",
        ),
        pytest.param([unknown(shot_event(1_700), 2), LATE], "open", "Seeking", id="old answer, new shot"),
        pytest.param(
            [CallFailed(1_700, 1, Reason.COMPARE_BUSY, Retry.SAME), unknown(shot_event(1_800), 2)],
            "open",
            "Seeking",
            id="in the pause before the next API call",
        ),
    ],
)
def test_verification_after_a_gap(scenario: list[Event], decision: str, reason: str) -> None:
    assert ending([*ASKED, *scenario]) == (decision, reason)


def test_unknown_track_cancels_the_call_and_keeps_its_number() -> None:
    steps = play([*ASKED, NEW_TRACK, shot_event(2_100), Ticked(2_700)])
    assert CancelCall(1) in steps[3][1]
    (ask,) = (effect for effect in steps[-1][1] if isinstance(effect, StartCall))
    assert ask.number == 2


def test_unknown_track_at_the_last_call_is_face_lost_and_no_failed_attempt() -> None:
    assert ending([*ASKED, NEW_TRACK], Limits(max_asks=1)) == ("undecided", "face_lost")
    assert Reason.FACE_LOST not in PHOTO_FAILURES


@pytest.mark.parametrize("passed", [True, False])
def test_unknown_track_during_a_challenge_starts_the_next_attempt(passed: bool) -> None:
    from tests.core.test_challenge import LEFT, Scenario, limits

    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady().wait(200)
    if passed:
        scenario.turn().back()
    scenario.send(unknown(shot_event(scenario.at_ms), 2))
    assert isinstance(scenario.state, Seeking)
    assert scenario.asks == 0


# --- invariants -------------------------------------------------------------------------------------


@st.composite
def frames(draw: st.DrawFn, at_ms: int, track: int, tracks: tuple[Continuity, ...]) -> FrameAnalyzed:
    """A frame of the current track, of a new track of the given kinds, or of a face without a track."""
    kind = draw(st.sampled_from([*[Continuity.SAME] * 4, *tracks]))
    number = track if kind is Continuity.SAME else track + 1
    good = draw(st.booleans())
    analyzed = shot_event(at_ms, 95.0, number) if good else frame_event(at_ms, FrameReason.FOLLOWED, number)
    if kind is Continuity.UNKNOWN:
        return unknown(analyzed, draw(st.sampled_from([number, None])))
    return replace(analyzed, analysis=replace(analyzed.analysis, continuity=kind))


@st.composite
def verifications(
    draw: st.DrawFn, tracks: tuple[Continuity, ...]
) -> tuple[list[tuple[State, Event]], Finished]:
    """One verification with frames, gaps and an API whose answer is always a match."""
    state: State = begin(DEADLINE_MS)
    limits, at_ms, track, past = Limits(), 0, 1, list[tuple[State, Event]]()
    due: list[CallAnswered] = []
    while not isinstance(state, Finished):
        at_ms += draw(st.sampled_from([30, 100, 100, 333, 500, 1_000, 2_000]))  # frame periods and gaps
        analyzed = draw(frames(at_ms, track, tracks))
        track = analyzed.analysis.track or track
        events: list[Event] = [*due, analyzed] if draw(st.booleans()) else [analyzed, *due]
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


@given(verifications((Continuity.UNKNOWN,)))
def test_gaps_with_one_person_are_never_face_swapped(verification: tuple[object, Finished]) -> None:
    assert verification[1].reason is not Reason.FACE_SWAPPED


@given(verifications((Continuity.OTHER, Continuity.UNKNOWN)))
def test_match_has_the_track_of_its_shot_and_of_the_newest_face(
    verification: tuple[list[tuple[State, Event]], Finished],
) -> None:
    """Between the sent shot and the match no other track appeared, and the newest frame is fresh."""
    past, end = verification
    if end.decision is not Decision.MATCH:
        return
    state, event = past[-1]
    assert isinstance(state, Comparing)
    shot_ms, track = state.best.frame.captured_ms, state.best.track
    since = [each.analysis for _, each in past if isinstance(each, FrameAnalyzed) and each.at_ms >= shot_ms]
    assert {each.track for each in since} <= {track, None}
    newest = since[-1]
    assert newest.track == track
    assert event.at_ms - newest.captured_ms <= Limits().fresh_ms


@given(verifications((Continuity.OTHER,)))
def test_another_person_after_the_start_of_the_call_is_face_swapped(
    verification: tuple[list[tuple[State, Event]], Finished],
) -> None:
    past, end = verification
    for state, event in past:
        if not isinstance(state, Comparing) or not isinstance(event, FrameAnalyzed):
            continue
        if event.at_ms < DEADLINE_MS and event.analysis.track != state.best.track:
            assert end.reason is Reason.FACE_SWAPPED


def test_the_generator_reaches_matches_swaps_and_waiting_matches() -> None:
    """A check of the generator: without such verifications the tests above would prove nothing."""
    ends, waited = list[Reason](), 0

    @settings(derandomize=True, max_examples=150)  # fixed examples, because the test counts
    @given(verifications((Continuity.OTHER, Continuity.UNKNOWN)))
    def walk(verification: tuple[list[tuple[State, Event]], Finished]) -> None:
        nonlocal waited
        ends.append(verification[1].reason)
        waited += any(
            isinstance(state, Comparing) and state.answer is not None for state, _ in verification[0]
        )

    walk()
    assert ends.count(Reason.SAME_PERSON) >= 5
    assert ends.count(Reason.FACE_SWAPPED) >= 5
    assert waited >= 5
