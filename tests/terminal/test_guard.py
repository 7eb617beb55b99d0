"""Stories of the terminal that says no before anything is paid for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.guard import GuardLimits
from agent.core.model import Assurance
from agent.core.ports import Asked
from agent.core.reasons import FrameReason, Refusal
from agent.core.steps import Limits
from agent.errors import StorageError
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from tests.fakes import EPOCH, RealClock, ScriptedCompare, glance, request
from tests.terminal.test_terminal import LIMITS, World, serving


def guarded(guard: GuardLimits, *answers: float, limits: Limits = LIMITS, earlier: int = 0) -> World:
    world = World(compare=ScriptedCompare(*answers))
    ports = Ports(RealClock(), world.camera, world.eye, world.compare, world.till, world.ledger, glance)
    settings = Settings(EPOCH, limits, 50, Assurance(), guard=guard, earlier_calls=earlier)
    world.terminal = Terminal(ports, settings)
    return world


async def ask(world: World, number: int) -> str:
    await world.till.inbox.put(Asked(request(f"r-{number}")))
    return await world.verdict(number)


async def test_after_too_many_wrong_faces_the_answer_is_attempt_limit_without_a_call() -> None:
    async with serving(guarded(GuardLimits(failures=2), 10.0)) as world:
        assert [await ask(world, number) for number in (1, 2)] == ["no_match/different_person"] * 2
        assert await ask(world, 3) == "undecided/attempt_limit"
        assert world.compare.asked == [1, 1]
        assert world.terminal.counters.results["undecided/attempt_limit"] == 1


async def test_a_failed_try_counts_although_its_result_cannot_be_stored() -> None:
    """Else a full disk gives any number of tries."""
    async with serving(guarded(GuardLimits(failures=1), 10.0)) as world:
        world.ledger.settle_error = StorageError("disk full")
        await world.till.inbox.put(Asked(request("r-1")))
        await world.till.until(lambda: Refusal.STORAGE_UNAVAILABLE in world.refusals())
        world.ledger.settle_error = None
        await world.till.inbox.put(Asked(request("r-2")))
        assert await world.verdict() == "undecided/attempt_limit"
        assert world.compare.asked == [1]


async def test_at_the_limit_of_calls_nothing_more_is_paid_and_state_says_so() -> None:
    async with serving(guarded(GuardLimits(calls_per_minute=2))) as world:
        assert [await ask(world, number) for number in (1, 2)] == ["match/same_person"] * 2
        assert await ask(world, 3) == "undecided/cost_limit"
        assert world.terminal.counters.calls == 2
        assert [condition.code for condition in world.terminal.conditions.active] == ["cost_limit"]


async def test_calls_of_earlier_processes_count_for_the_day() -> None:
    async with serving(guarded(GuardLimits(calls_per_day=100), earlier=100)) as world:
        assert await ask(world, 1) == "undecided/cost_limit"
        assert world.compare.asked == []


async def test_the_warning_comes_while_the_terminal_goes_on() -> None:
    async with serving(guarded(GuardLimits(calls_per_day_warning=1))) as world:
        assert [await ask(world, number) for number in (1, 2)] == ["match/same_person"] * 2
        assert [condition.code for condition in world.terminal.conditions.active] == ["cost_high"]
        assert world.terminal.counters.bytes_sent > 0


async def test_the_limit_may_be_reached_between_two_questions_of_one_request() -> None:
    world = guarded(GuardLimits(calls_per_minute=1), limits=replace(LIMITS, ask_timeout_ms=50))
    world.compare.delay_s = 0.2  # the first question gets no answer in time and would be asked again
    async with serving(world):
        assert await ask(world, 1) == "undecided/cost_limit"
        assert world.compare.asked == [1]


@pytest.mark.parametrize("stage", [FrameReason.NO_FACE, FrameReason.MULTIPLE_FACES])
async def test_nobody_or_a_crowd_in_front_of_the_camera_is_no_failed_try(stage: FrameReason) -> None:
    async with serving(guarded(GuardLimits(failures=1))) as world:
        world.eye.stage = stage
        await world.till.inbox.put(Asked(request("r-1", budget_ms=150)))
        assert (await world.verdict(1)).startswith("undecided/")
        world.eye.stage = FrameReason.SHOT
        assert await ask(world, 2) == "match/same_person"
