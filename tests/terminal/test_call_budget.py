"""Call budget: the terminal refuses before a paid API call."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from agent.core.attempt_limits import AttemptLimits
from agent.core.model import Assurance, Crop
from agent.core.ports import CancelReceived, RequestReceived
from agent.core.reasons import FrameReason, Refusal
from agent.core.verification_types import Limits
from agent.errors import CompareSlow, CompareUnreachable, Retry, StorageError
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import ATTEMPTS_PAUSED
from agent.health.counters import Counters
from agent.terminal.api_call import ApiCall, CallBudget, PhaseTimes
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from tests.fakes import EPOCH, RealClock, ScriptedCompare, check_frame, request
from tests.terminal.test_terminal import LIMITS, TerminalSetup, serving


def guarded(
    guard: AttemptLimits, *answers: float, limits: Limits = LIMITS, earlier: int = 0
) -> TerminalSetup:
    setup = TerminalSetup(compare=ScriptedCompare(*answers))
    ports = Ports(
        RealClock(), setup.camera, setup.analyzer, setup.compare, setup.till, setup.claim_store, check_frame
    )
    settings = Settings(EPOCH, limits, 50, Assurance(), guard=guard, earlier_calls=earlier)
    setup.terminal = Terminal(ports, settings)
    return setup


async def ask(setup: TerminalSetup, number: int) -> str:
    await setup.till.inbox.put(RequestReceived(request(f"r-{number}")))
    return await setup.verdict(number)


async def test_too_many_wrong_faces_are_attempt_limit_without_a_call() -> None:
    async with serving(guarded(AttemptLimits(failures=2), 10.0)) as setup:
        assert [await ask(setup, number) for number in (1, 2)] == ["no_match/different_person"] * 2
        assert await ask(setup, 3) == "undecided/attempt_limit"
        assert setup.compare.calls == [1, 1]
        assert setup.terminal.counters.results["undecided/attempt_limit"] == 1


async def test_pause_of_the_terminal_is_a_condition_with_the_remaining_time() -> None:
    async with serving(guarded(AttemptLimits(failures=1, pause_ms=3_600_000), 10.0)) as setup:
        assert await ask(setup, 1) == "no_match/different_person"
        (shown,) = setup.terminal.conditions.shown
        assert shown.condition is ATTEMPTS_PAUSED
        assert re.fullmatch(r"every request is refused for another 3[56]\d\d s", str(shown.detail))


async def test_failed_attempt_counts_even_if_its_result_is_not_stored() -> None:
    """Otherwise a full disk would allow any number of attempts."""
    async with serving(guarded(AttemptLimits(failures=1), 10.0)) as setup:
        setup.claim_store.settle_error = StorageError("disk full")
        await setup.till.inbox.put(RequestReceived(request("r-1")))
        await setup.till.until(lambda: Refusal.STORAGE_UNAVAILABLE in setup.refusals())
        setup.claim_store.settle_error = None
        await setup.till.inbox.put(RequestReceived(request("r-2")))
        assert await setup.verdict() == "undecided/attempt_limit"
        assert setup.compare.calls == [1]


async def test_call_limit_stops_paid_calls_and_raises_a_condition() -> None:
    async with serving(guarded(AttemptLimits(calls_per_minute=2))) as setup:
        assert [await ask(setup, number) for number in (1, 2)] == ["match/same_person"] * 2
        assert await ask(setup, 3) == "undecided/cost_limit"
        assert setup.terminal.counters.calls == 2
        assert [condition.code for condition in setup.terminal.conditions.active] == ["cost_limit"]


async def test_calls_of_earlier_processes_count_for_the_day() -> None:
    async with serving(guarded(AttemptLimits(calls_per_day=100), earlier=100)) as setup:
        assert await ask(setup, 1) == "undecided/cost_limit"
        assert setup.compare.calls == []


async def test_call_warning_does_not_stop_the_terminal() -> None:
    async with serving(guarded(AttemptLimits(calls_per_day_warning=1))) as setup:
        assert [await ask(setup, number) for number in (1, 2)] == ["match/same_person"] * 2
        assert [condition.code for condition in setup.terminal.conditions.active] == ["cost_high"]
        assert setup.terminal.counters.bytes_sent > 0


async def test_call_limit_between_two_calls_of_one_request() -> None:
    setup = guarded(AttemptLimits(calls_per_minute=1), limits=replace(LIMITS, ask_timeout_ms=50))
    setup.compare.delay_s = 0.2  # the first call times out and would be repeated
    async with serving(setup):
        assert await ask(setup, 1) == "undecided/cost_limit"
        assert setup.compare.calls == [1]


@pytest.mark.parametrize("stage", [FrameReason.NO_FACE, FrameReason.MULTIPLE_FACES])
async def test_no_face_or_many_faces_is_no_failed_attempt(stage: FrameReason) -> None:
    async with serving(guarded(AttemptLimits(failures=1))) as setup:
        setup.analyzer.stage = stage
        await setup.till.inbox.put(RequestReceived(request("r-1", budget_ms=150)))
        assert (await setup.verdict(1)).startswith("undecided/")
        setup.analyzer.stage = FrameReason.SHOT
        assert await ask(setup, 2) == "match/same_person"


# --- paid calls: only calls that were sent --------------------------------------------------------------


async def test_calls_that_were_not_sent_are_not_paid() -> None:
    setup = guarded(AttemptLimits(calls_per_minute=1))
    setup.compare.is_reached = False
    setup.compare.answers = [CompareUnreachable("ConnectError")]
    async with serving(setup):
        assert await ask(setup, 1) == "undecided/compare_unreachable"
        assert await ask(setup, 2) == "undecided/compare_unreachable"
        assert (setup.terminal.counters.calls, setup.terminal.counters.bytes_sent) == (0, 0)
        assert [result.calls for result in setup.claim_store.settled] == [0, 0]
        setup.compare.is_reached, setup.compare.answers = True, [93.0]
        assert await ask(setup, 3) == "match/same_person"
        assert await ask(setup, 4) == "undecided/cost_limit"
    assert setup.terminal.counters.calls == 1


async def test_a_call_that_was_sent_and_cancelled_is_paid() -> None:
    setup = guarded(AttemptLimits(), 93.0)
    setup.compare.delay_s = 30.0
    async with serving(setup):
        setup.till.inbox.put_nowait(RequestReceived(request("r-1", budget_ms=60_000)))
        async with asyncio.timeout(60):
            while not setup.compare.calls:  # noqa: ASYNC110 - the fake has no event
                await asyncio.sleep(0.005)
        setup.till.inbox.put_nowait(CancelReceived("till-1", "r-1"))
        assert await setup.verdict() == "undecided/cancelled"
    assert [(result.calls, result.asks) for result in setup.claim_store.settled] == [(1, 1)]
    assert setup.terminal.counters.calls == 1


async def test_reserved_call_counts_so_the_limit_is_never_exceeded() -> None:
    guard = CallBudget(
        RealClock(), AttemptLimits(calls_per_minute=1), Counters(), ConditionTracker(RealClock().now_ms)
    )
    assert guard.reserve()
    assert not guard.reserve(), "the reserved call may be sent"
    guard.release()
    assert guard.reserve()
    guard.record_sent(Crop(b"jpeg", 1, 1))
    assert not guard.reserve()


# --- durations -------------------------------------------------------------------------------------


async def test_slow_api_is_api_time_and_compare_slow() -> None:
    limits = Limits(hold_ms=20, ask_timeout_ms=1_500, retry_pause_ms=20, min_ask_ms=10, max_asks=2)
    setup = guarded(AttemptLimits(), 93.0, limits=limits)
    setup.compare.delay_s = 30.0
    async with serving(setup):
        setup.till.inbox.put_nowait(RequestReceived(request("r-1", budget_ms=60_000)))
        assert await setup.verdict() == "undecided/compare_unreachable"
        assert [condition.code for condition in setup.terminal.conditions.active] == ["compare_slow"]
        (result,) = setup.claim_store.settled
        assert (result.asks, result.calls) == (2, 2)
        assert result.timings.api > result.timings.hold, "both calls lasted 1.5 s"
        setup.compare.delay_s = 0.0
        assert await ask(setup, 2) == "match/same_person"
        assert setup.terminal.conditions.active == ()


async def test_call_withheld_after_slow_calls_is_compare_slow() -> None:
    world = guarded(AttemptLimits())
    world.compare.is_reached = False  # the circuit breaker sends nothing
    world.compare.answers = [CompareSlow("withheld", retry=Retry.NEVER)]
    async with serving(world):
        assert await ask(world, 1) == "undecided/compare_unreachable"
        assert [condition.code for condition in world.terminal.conditions.active] == ["compare_slow"]
        assert world.terminal.counters.calls == 0


async def test_unreachable_api_is_not_compare_slow() -> None:
    setup = guarded(AttemptLimits())
    setup.compare.is_reached = False
    setup.compare.answers = [CompareUnreachable("ConnectError", retry=Retry.NEVER)]
    async with serving(setup):
        assert await ask(setup, 1) == "undecided/compare_unreachable"
        assert [condition.code for condition in setup.terminal.conditions.active] == ["compare_unreachable"]
        setup.compare.is_reached = True
        setup.compare.answers = [CompareSlow("late", retry=Retry.NEVER)]
        assert await ask(setup, 2) == "undecided/compare_unreachable"
        assert [condition.code for condition in setup.terminal.conditions.active] == ["compare_slow"]


def test_call_is_counted_once_when_its_request_is_sent_again() -> None:
    counters, conditions = Counters(), ConditionTracker(RealClock().now_ms)
    budget = CallBudget(RealClock(), AttemptLimits(), counters, conditions)
    assert budget.reserve()
    call = ApiCall(RealClock().now_ms, budget, PhaseTimes(), late_at_ms=0)
    call.begin(Crop(b"jpeg", 1, 1))
    call.record_sent()
    call.record_sent()
    assert (counters.calls, counters.bytes_sent, call.times.calls) == (1, 4, 1)
