"""Verifications in a row that end with a fault of the API, as conditions of the terminal."""

from __future__ import annotations

from agent.errors import CompareError
from agent.health.conditions_compare import COMPARE_CONFIG, COMPARE_FAILING
from agent.health.result_meter import VERIFICATIONS_MIN
from tests.fakes import ScriptedCompare
from tests.terminal.test_call_budget import ask
from tests.terminal.test_terminal import World, serving

TOO_LARGE = CompareError("HTTP 413", code="compare_config")


async def test_fault_of_calls_stays_visible_when_checks_clear_its_condition() -> None:
    world = World(compare=ScriptedCompare(*[TOO_LARGE] * VERIFICATIONS_MIN, 93.0))
    conditions = world.terminal.conditions
    async with serving(world):
        for number in range(1, VERIFICATIONS_MIN + 1):
            await ask(world, number)
            assert COMPARE_CONFIG in conditions.active
            conditions.clear(COMPARE_CONFIG)  # a check without a picture succeeds
        assert conditions.active == (COMPARE_FAILING,)
        assert await ask(world, VERIFICATIONS_MIN + 1) == "match/same_person"
        assert not conditions.active


async def test_fault_of_one_outage_is_one_condition() -> None:
    world = World(compare=ScriptedCompare(TOO_LARGE))
    async with serving(world):
        for number in range(1, VERIFICATIONS_MIN + 1):
            await ask(world, number)
        assert world.terminal.conditions.active == (COMPARE_CONFIG,)
