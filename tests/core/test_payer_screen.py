"""The screen of the payer: one hint, a picture during the verification only, blank soon after the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.model import Assurance, Request, Result, Timings
from agent.core.payer_screen import (
    ENDING_MS,
    Ended,
    Ending,
    Guiding,
    Idle,
    Screen,
    ScreenEvent,
    advance,
    ending_of,
    wake_at,
)
from agent.core.ports import AcceptedEvent, GuidanceEvent, RefusedEvent, StageEvent
from agent.core.reasons import Decision, Guidance, Reason, Refusal
from tests.fakes import request

BUDGET_MS = 4_000
BLANK_MS = 2_000  # the promise of the documentation
REQUESTS = [
    replace(request(f"sale-{number}", till=till), received_ms=0, budget_ms=BUDGET_MS)
    for number, till in enumerate(("till-1", "till-1", "till-2"))
]
OUTCOMES = [
    (Decision.MATCH, Reason.SAME_PERSON),
    (Decision.NO_MATCH, Reason.DIFFERENT_PERSON),
    *((Decision.UNDECIDED, reason) for reason in Reason if reason is not Reason.SAME_PERSON),
]


def received(request: Request, at_ms: int) -> Request:
    return replace(request, received_ms=at_ms)


def result(request: Request, decision: Decision, reason: Reason) -> Result:
    return Result(request, decision, reason, 1, None, Timings(), Assurance())


def begun(at_ms: int = 1_000, locale: str | None = None) -> tuple[Request, Guiding]:
    request = replace(received(REQUESTS[0], at_ms), locale=locale)
    screen = advance(Idle(), AcceptedEvent(request, BUDGET_MS), at_ms)
    assert isinstance(screen, Guiding)
    return request, screen


@st.composite
def event_sequences(draw: st.DrawFn) -> list[tuple[ScreenEvent | None, int]]:
    """Events with their times. Half of the events belong to the request that was accepted last."""
    at_ms, newest, sequence = 1_000, REQUESTS[0], list[tuple[ScreenEvent | None, int]]()
    for _ in range(draw(st.integers(1, 25))):
        at_ms += draw(st.sampled_from([0, 30, 400, 1_000, ENDING_MS, BUDGET_MS]))
        request = draw(st.sampled_from([newest, newest, *REQUESTS]))
        kind = draw(st.sampled_from(["accepted", "guided", "guided", "staged", "refused", "result", "time"]))
        event: ScreenEvent | None = None
        match kind:
            case "accepted":
                newest = received(request, at_ms - draw(st.sampled_from([0, 100, BUDGET_MS])))
                event = AcceptedEvent(newest, BUDGET_MS)
            case "guided":
                event = GuidanceEvent(request, draw(st.sampled_from(list(Guidance))))
            case "staged":
                event = StageEvent(request, draw(st.sampled_from(["seeking", "holding", "comparing"])))
            case "refused":
                asks = draw(st.sampled_from([None, 0, 1]))
                event = RefusedEvent(request.till, request.request_id, Refusal.STORAGE_UNAVAILABLE, asks=asks)
            case "result":
                event = result(request, *draw(st.sampled_from(OUTCOMES)))
        sequence.append((event, at_ms))
    return sequence


@given(event_sequences())
def test_screen_any_sequence_keeps_the_rules(sequence: list[tuple[ScreenEvent | None, int]]) -> None:
    screen: Screen = Idle()
    for event, at_ms in sequence:
        before, screen = screen, advance(screen, event, at_ms)
        if isinstance(screen, Guiding):
            assert isinstance(screen.hint, Guidance), "exactly one hint"
            assert screen.began_ms <= at_ms < screen.until_ms, "a picture during the verification only"
        if isinstance(event, Result) and isinstance(before, Guiding) and not isinstance(screen, Guiding):
            assert isinstance(advance(screen, None, at_ms + BLANK_MS), Idle), (
                "blank two seconds after the end"
            )
        if isinstance(screen, Ended):
            assert at_ms < screen.until_ms <= at_ms + ENDING_MS
        due_ms = wake_at(screen)
        assert (due_ms is None) == isinstance(screen, Idle)
        assert due_ms is None or advance(screen, None, due_ms) == Idle(), (
            "a due time always blanks the screen"
        )


@given(event_sequences())
def test_screen_without_a_result_is_blank_at_the_deadline(
    sequence: list[tuple[ScreenEvent | None, int]],
) -> None:
    screen: Screen = Idle()
    for event, at_ms in sequence:
        if not isinstance(event, Result | RefusedEvent):
            screen = advance(screen, event, at_ms)
    assert isinstance(advance(screen, None, sequence[-1][1] + BUDGET_MS), Idle)


def test_accepted_begins_with_one_hint_and_the_locale_of_the_request() -> None:
    request, screen = begun(locale="zh-CN")
    assert screen.hint is Guidance.LOOK_HERE and screen.locale == "zh-CN"
    assert (screen.began_ms, screen.until_ms) == (1_000, request.deadline_ms)


def test_guidance_replaces_the_hint_and_a_repetition_changes_nothing() -> None:
    request, screen = begun()
    closer = advance(screen, GuidanceEvent(request, Guidance.COME_CLOSER), 1_100)
    assert isinstance(closer, Guiding) and closer.hint is Guidance.COME_CLOSER
    assert advance(closer, GuidanceEvent(request, Guidance.COME_CLOSER), 1_200) is closer
    assert advance(closer, AcceptedEvent(request, BUDGET_MS), 1_300) is closer, (
        "a repeated request starts no new screen"
    )


def test_event_of_another_request_changes_nothing() -> None:
    _, screen = begun()
    other = received(REQUESTS[1], 1_000)
    assert advance(screen, GuidanceEvent(other, Guidance.STEP_BACK), 1_100) is screen
    assert advance(screen, result(other, Decision.MATCH, Reason.SAME_PERSON), 1_100) is screen
    assert advance(Idle(), result(other, Decision.MATCH, Reason.SAME_PERSON), 1_100) == Idle()


def test_refusal_of_an_accepted_request_ends_the_screen_and_another_refusal_does_not() -> None:
    request, screen = begun()
    conflict = RefusedEvent(request.till, request.request_id, Refusal.ID_CONFLICT)
    assert advance(screen, conflict, 1_100) is screen
    lost = RefusedEvent(request.till, request.request_id, Refusal.STORAGE_UNAVAILABLE, asks=1)
    assert advance(screen, lost, 1_100) == Ended(Ending.ANOTHER_WAY, None, 1_100 + ENDING_MS)


@pytest.mark.parametrize(("decision", "reason"), OUTCOMES)
def test_every_outcome_has_an_ending_and_only_a_match_is_recognised(
    decision: Decision, reason: Reason
) -> None:
    request, screen = begun()
    done = result(request, decision, reason)
    assert (ending_of(done) is Ending.RECOGNISED) is (decision is Decision.MATCH)
    after = advance(screen, done, 2_000)
    if reason is Reason.CANCELLED:
        assert after == Idle(), "the till ended it: nothing is shown"
    else:
        assert isinstance(after, Ended) and after.ending is ending_of(done)


def test_result_after_the_deadline_is_not_shown() -> None:
    request, screen = begun()
    late = advance(screen, result(request, Decision.MATCH, Reason.SAME_PERSON), request.deadline_ms)
    assert late == Idle()
