"""Verification: example series of events with their results, then invariants with a generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.model import Comparison
from agent.core.reasons import Decision, FrameReason, Reason
from agent.core.verification import advance, begin, wake_at
from agent.core.verification_types import (
    CallAnswered,
    CallFailed,
    CameraFailed,
    CancelCall,
    Cancelled,
    Comparing,
    Event,
    Finished,
    FrameAnalyzed,
    Holding,
    InputFailed,
    InternalFailure,
    Interrupted,
    Limits,
    Report,
    Seeking,
    StartCall,
    State,
    Ticked,
    Waiting,
)
from agent.errors import Retry
from tests.core.builders import (
    DEADLINE_MS,
    NAN,
    answer,
    answered,
    asks_of,
    ending,
    frame_event,
    play,
    shot_event,
)

LIMITS = Limits()
YES, NO = answer(93.0), answer(20.0)
HELD: list[Event] = [shot_event(1_000)]
ASKED: list[Event] = [*HELD, Ticked(1_600)]


def failed(at_ms: int, ask: int, reason: Reason, retry: Retry) -> CallFailed:
    return CallFailed(at_ms, ask, reason, retry)


def unreachable(at_ms: int, ask: int) -> CallFailed:
    return failed(at_ms, ask, Reason.COMPARE_UNREACHABLE, Retry.SAME)


def unclear(at_ms: int, ask: int) -> CallFailed:
    return failed(at_ms, ask, Reason.FACE_UNUSABLE, Retry.NEW_SHOT)


@pytest.mark.parametrize(
    ("scenario", "decision", "reason"),
    [
        pytest.param(
            [*ASKED, *answered(2_000, 1, YES)], "match", "same_person", id="the payer is the holder"
        ),
        pytest.param(
            [*ASKED, CallAnswered(2_000, 1, NO)], "no_match", "different_person", id="another person"
        ),
        pytest.param(
            [shot_event(1_000, 95.0), frame_event(1_100, FrameReason.FOLLOWED, 1), *answered(1_400, 1, YES)],
            "match",
            "same_person",
            id="an excellent shot is sent as soon as a second frame agrees",
        ),
        pytest.param(
            [shot_event(1_000, 95.0), shot_event(1_100, 95.0, track=2), shot_event(1_200, 95.0, track=3)],
            "open",
            "Holding",
            id="a person who walks past is never sent",
        ),
        pytest.param(
            [shot_event(1_000, 60.0), shot_event(1_100, 95.0), *answered(1_400, 1, YES)],
            "match",
            "same_person",
            id="a better, excellent shot of the same face needs no third frame",
        ),
        pytest.param(
            [Ticked(8_000)], "undecided", "camera_unavailable", id="the camera never delivered a frame"
        ),
        pytest.param(
            [frame_event(1_000, FrameReason.NO_FACE), Ticked(8_000)], "undecided", "no_face", id="no face"
        ),
        pytest.param(
            [
                frame_event(1_000, FrameReason.NO_FACE),
                frame_event(7_900, FrameReason.MULTIPLE_FACES),
                Ticked(8_000),
            ],
            "undecided",
            "multiple_faces",
            id="the newest frame gives the reason",
        ),
        pytest.param(
            [frame_event(1_000, FrameReason.BLURRED, 1), Ticked(8_000)],
            "undecided",
            "face_unusable",
            id="always blurred",
        ),
        pytest.param(
            [*ASKED, CallAnswered(2_000, 1, answer(NAN))],
            "undecided",
            "compare_malformed",
            id="nan is no match",
        ),
        pytest.param(
            [*ASKED, CallAnswered(2_000, 1, answer(math.inf))],
            "undecided",
            "compare_malformed",
            id="infinity is no match",
        ),
        pytest.param(
            [*ASKED, CallAnswered(2_000, 1, answer(100.1))],
            "undecided",
            "compare_malformed",
            id="100.1 is no match",
        ),
        pytest.param(
            [*ASKED, CallAnswered(2_000, 1, answer(-1.0))],
            "undecided",
            "compare_malformed",
            id="a negative similarity is no match",
        ),
        pytest.param(
            [*ASKED, CallAnswered(2_000, 1, answer(50.0, 0.0))],
            "undecided",
            "compare_config",
            id="threshold zero",
        ),
        pytest.param(
            [*ASKED, CallAnswered(2_000, 1, answer(50.0, NAN))],
            "undecided",
            "compare_config",
            id="threshold nan",
        ),
        pytest.param(
            [*ASKED, *answered(2_000, 1, answer(80.0))], "match", "same_person", id="exactly the threshold"
        ),
        pytest.param([*ASKED, *answered(8_000, 1, YES)], "undecided", "timed_out", id="answer too late"),
        pytest.param(
            [
                *ASKED,
                unclear(1_700, 1),
                shot_event(1_800),
                Ticked(2_400),
                *answered(2_500, 1, YES),
                Ticked(8_000),
            ],
            "undecided",
            "timed_out",
            id="an answer to an older call is ignored",
        ),
        pytest.param(
            [*ASKED, unclear(1_700, 1), shot_event(1_800), Ticked(2_400), *answered(2_500, 2, YES)],
            "match",
            "same_person",
            id="second shot, second API call",
        ),
        pytest.param(
            [
                *ASKED,
                unreachable(1_650, 1),
                Ticked(2_050),
                unreachable(2_060, 2),
                Ticked(2_460),
                unreachable(2_470, 3),
            ],
            "undecided",
            "compare_unreachable",
            id="three failures end before the deadline",
        ),
        pytest.param(
            [*ASKED, failed(1_700, 1, Reason.COMPARE_CREDENTIALS, Retry.NEVER)],
            "undecided",
            "compare_credentials",
            id="a wrong key is never tried twice",
        ),
        pytest.param(
            [
                *ASKED,
                failed(1_700, 1, Reason.CLOCK, Retry.RESIGN),
                *answered(2_000, 2, YES),
            ],
            "match",
            "same_person",
            id="signed again with the right time",
        ),
        pytest.param(
            [
                *ASKED,
                failed(1_700, 1, Reason.CLOCK, Retry.RESIGN),
                failed(1_800, 2, Reason.CLOCK, Retry.RESIGN),
            ],
            "undecided",
            "clock",
            id="signed again only once",
        ),
        pytest.param(
            [*ASKED, failed(7_500, 1, Reason.COMPARE_BUSY, Retry.BACKOFF)],
            "undecided",
            "compare_busy",
            id="no time for a pause: ends at once",
        ),
        pytest.param(
            [*ASKED, frame_event(1_700, FrameReason.BLURRED, 2)],
            "undecided",
            "face_swapped",
            id="another face during the call",
        ),
        pytest.param(
            [*ASKED, frame_event(1_700, FrameReason.FOLLOWED, 2), *answered(2_000, 1, YES)],
            "undecided",
            "face_swapped",
            id="another followed face during the call",
        ),
        pytest.param(
            [*HELD, frame_event(1_200, FrameReason.FOLLOWED, 1), Ticked(1_600), *answered(2_000, 1, YES)],
            "match",
            "same_person",
            id="followed frames keep the hold",
        ),
        pytest.param(
            [*ASKED, unclear(1_700, 1), frame_event(1_900, FrameReason.FOLLOWED, 1), Ticked(8_000)],
            "undecided",
            "timed_out",
            id="a followed frame is no shot",
        ),
        pytest.param(
            [*ASKED, frame_event(1_700, FrameReason.NO_FACE), *answered(2_000, 1, YES)],
            "match",
            "same_person",
            id="leaving after the shot does not change the match (documented residual risk)",
        ),
        pytest.param(
            [*ASKED, CameraFailed(1_700, Reason.CAMERA_UNAVAILABLE)],
            "undecided",
            "camera_unavailable",
            id="the camera fails during the call: no frame can confirm the payer",
        ),
        pytest.param(
            [*ASKED, Cancelled(1_700), *answered(2_000, 1, YES)],
            "undecided",
            "cancelled",
            id="cancelled first",
        ),
        pytest.param([*ASKED, Interrupted(1_700)], "undecided", "interrupted", id="the terminal is stopping"),
        pytest.param([*ASKED, InternalFailure(1_700)], "undecided", "internal_error", id="a bug is no match"),
        pytest.param(
            [InputFailed(100, Reason.REFERENCE_UNREACHABLE), shot_event(1_000)],
            "undecided",
            "reference_unreachable",
            id="no enrolled photo, no API call",
        ),
        pytest.param(
            [shot_event(7_700, 95.0), shot_event(7_800, 95.0)],
            "undecided",
            "timed_out",
            id="no API call whose answer would be late",
        ),
        pytest.param(
            [shot_event(7_500), Ticked(8_000)], "undecided", "timed_out", id="the face appears too late"
        ),
        pytest.param(
            [*ASKED, Ticked(4_100), Ticked(4_500), Ticked(7_000), Ticked(7_400), Ticked(8_000)],
            "undecided",
            "compare_unreachable",
            id="a silent API is unreachable",
        ),
        pytest.param(
            [*HELD, frame_event(1_200, FrameReason.NO_FACE), Ticked(8_000)],
            "undecided",
            "no_face",
            id="left during the hold",
        ),
        pytest.param(
            [*HELD, frame_event(1_200, FrameReason.MULTIPLE_FACES), Ticked(8_000)],
            "undecided",
            "multiple_faces",
            id="a second payer during the hold",
        ),
    ],
)
def test_verification_of_events(scenario: list[Event], decision: str, reason: str) -> None:
    assert ending(scenario) == (decision, reason)


def test_hold_sends_the_best_shot_and_not_the_last() -> None:
    steps = play([shot_event(1_000, 50), shot_event(1_100, 70), shot_event(1_200, 60), Ticked(1_600)])
    (ask,) = (e for e in steps[-1][1] if isinstance(e, StartCall))
    assert ask.shot.frame.captured_ms == 1_100


def test_another_person_during_the_hold_starts_a_new_hold() -> None:
    steps = play(
        [shot_event(1_000, 70, track=1), shot_event(1_300, 50, track=2), Ticked(1_600), Ticked(1_900)]
    )
    assert isinstance(steps[2][0], Holding), "the hold of the first person must not end the second hold"
    (ask,) = (e for e in steps[-1][1] if isinstance(e, StartCall))
    assert ask.shot.track == 2


def test_new_shot_must_be_captured_after_the_failure() -> None:
    old = shot_event(1_650)
    steps = play([*ASKED, unclear(1_700, 1), FrameAnalyzed(1_710, old.analysis)])
    assert isinstance(steps[-1][0], Seeking)


def test_backoff_pause_grows_and_has_jitter() -> None:
    busy = Reason.COMPARE_BUSY
    scenario: list[Event] = [
        *ASKED,
        failed(1_700, 1, busy, Retry.BACKOFF),
        Ticked(3_000),
        failed(3_100, 2, busy, Retry.BACKOFF),
    ]
    first, second = (step[0] for step in play(scenario, Limits(jitter=0.5)) if isinstance(step[0], Waiting))
    assert (first.until_ms - 1_700, second.until_ms - 3_100) == (600, 1_200)


# --- invariants -------------------------------------------------------------------------------------

scores = st.sampled_from([40.0, 60.0, 79.0, 95.0])
thresholds = st.sampled_from([80.0, 80.0, NAN, 0.0])
numbers = st.one_of(st.floats(), st.sampled_from([0.0, 74.9, 80.0, 100.0, 100.1, -0.1, NAN, math.inf]))
tracks = st.sampled_from([1, 1, 1, 1, 2])
retries = st.sampled_from(Retry)
frame_reasons = st.sampled_from(FrameReason)
frame_tracks = st.sampled_from([None, 1, 2])
call_numbers = st.sampled_from([0, 0, 0, -1, 1, None])  # as a difference to the newest call; None is call 0

FITTING: dict[type, tuple[str, ...]] = {
    Seeking: ("shot",),
    Holding: ("shot", "due", "due"),
    Comparing: ("answered", "busy", "unusable"),
    Waiting: ("due", "due"),
    Finished: (),
}
BLIND = ("tick", "frame", "any number", "frozen", "rare")
kinds = {state: st.sampled_from([*fitting * 3, *BLIND]) for state, fitting in FITTING.items()}
RARE: list[Callable[[int], Event]] = [
    Cancelled,
    Interrupted,
    InternalFailure,
    partial(InputFailed, reason=Reason.REFERENCE_REFUSED),
]
rare = st.sampled_from(RARE)


@st.composite
def steered_events(draw: st.DrawFn, state: State, at_ms: int) -> Event:
    """An event that fits the state in most cases: a random generator rarely reaches a second call.

    The kind is drawn first, then the values of this kind only: each draw takes time.
    """

    def call() -> int:
        offset = draw(call_numbers)
        return 0 if offset is None else asks_of(state) + offset

    match draw(kinds[type(state)]):
        case "shot":
            return shot_event(at_ms, draw(scores), draw(tracks))
        case "due":
            return Ticked(max(at_ms, wake_at(state)))
        case "answered":
            return CallAnswered(at_ms, call(), Comparison(draw(numbers), draw(thresholds), "test"))
        case "busy":
            return CallFailed(at_ms, call(), Reason.COMPARE_BUSY, draw(retries))
        case "unusable":
            return CallFailed(at_ms, call(), Reason.FACE_UNUSABLE, draw(retries))
        case "tick":
            return Ticked(at_ms)
        case "frame":
            return frame_event(at_ms, draw(frame_reasons), draw(frame_tracks))
        case "any number":
            return CallAnswered(at_ms, call(), answer(draw(numbers)))
        case "frozen":
            return CameraFailed(at_ms, Reason.CAMERA_FROZEN)
        case _:
            return draw(rare)(at_ms)


@given(st.data())
def test_verification_of_any_events_keeps_the_invariants(data: st.DataObject) -> None:
    limits = Limits(max_asks=data.draw(st.integers(1, 4)), jitter=data.draw(st.floats(0, 1)))
    state: State = begin(DEADLINE_MS)
    at_ms, reports, asks = 0, 0, []
    for _ in range(40):
        at_ms += data.draw(st.sampled_from([0, 10, 100, 400, 400, 900, 2_600]))
        event = data.draw(steered_events(state, at_ms))
        at_ms = event.at_ms
        before = state
        state, effects = advance(state, event, limits)
        reports += sum(isinstance(e, Report) for e in effects)
        for effect in effects:
            if isinstance(effect, StartCall):
                asks.append(effect.number)
                assert effect.timeout_ms <= DEADLINE_MS - event.at_ms, "a call must end before the deadline"
        if isinstance(before, Finished):
            assert state is before and not effects, "a late event changes nothing"
            continue
        if isinstance(before, Comparing) and not (
            isinstance(state, Comparing) and asks_of(state) == asks_of(before)
        ):
            closed = before.answer is not None
            closed |= isinstance(event, CallFailed | CallAnswered) and event.number == asks_of(before)
            assert closed or CancelCall(asks_of(before)) in effects, "no call may be left open"
        if isinstance(state, Finished):
            _check_finish(before, event, state)
        if isinstance(event, Ticked) and event.at_ms >= wake_at(before):
            assert state != before, "a due tick always changes the state"
    assert reports == isinstance(state, Finished)
    assert asks == list(range(1, len(asks) + 1)), "calls are numbered, the number never restarts"
    assert len(asks) <= limits.max_asks


def _check_finish(before: State, event: Event, state: Finished) -> None:
    if state.decision is Decision.MATCH:
        assert isinstance(before, Comparing) and event.at_ms < DEADLINE_MS
        answered = before.answer or event
        assert isinstance(answered, CallAnswered) and answered.number == asks_of(before)
        assert 0 < answered.comparison.threshold <= answered.comparison.similarity <= 100
        if isinstance(event, FrameAnalyzed):
            assert event.analysis.track == before.best.track, (
                "only the track of the shot confirms a waiting match"
            )
    if event.at_ms >= DEADLINE_MS:
        assert state.decision is Decision.UNDECIDED, "no other decision is allowed at the deadline"


@given(st.data())
def test_verification_with_any_events_ends_by_its_deadline(data: st.DataObject) -> None:
    state: State = begin(DEADLINE_MS)
    at_ms = 0
    while not isinstance(state, Finished):
        if data.draw(st.booleans()) and at_ms < DEADLINE_MS:
            event: Event = data.draw(steered_events(state, at_ms))
        else:
            event = Ticked(wake_at(state))
        at_ms = max(at_ms + 1, event.at_ms)
        state, _ = advance(state, event, LIMITS)
    assert at_ms <= DEADLINE_MS + 1


def test_generator_reaches_second_calls_often_enough() -> None:
    """A check of the generator: without second calls the two tests above would prove nothing."""
    seconds = 0

    @settings(derandomize=True, max_examples=150)  # fixed examples, because the test counts
    @given(st.data())
    def walk(data: st.DataObject) -> None:
        nonlocal seconds
        state: State = begin(DEADLINE_MS)
        at_ms = 0
        for _ in range(40):
            at_ms += data.draw(st.sampled_from([0, 10, 100, 400]))
            state, _ = advance(state, data.draw(steered_events(state, at_ms)), LIMITS)
            if isinstance(state, Finished):
                break
        seconds += isinstance(state, Finished) and state.asks >= 2

    walk()
    assert seconds >= 5


def test_wake_at_of_a_finished_verification_raises() -> None:
    finished = play([Cancelled(1)])[-1][0]
    with pytest.raises(ValueError, match="has no next tick"):
        wake_at(finished)
