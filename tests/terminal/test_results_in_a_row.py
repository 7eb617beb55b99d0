"""Verifications in a row that end with a fault of the API, as conditions of the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.core.model import Assurance
from agent.core.ports import RequestReceived
from agent.errors import AgentError, CompareError
from agent.health.condition import Condition
from agent.health.conditions_compare import COMPARE_CONFIG, COMPARE_FAILING
from agent.health.result_meter import VERIFICATIONS_MIN
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from tests.fakes import (
    EPOCH,
    MemoryClaimStore,
    PacedCamera,
    QueueTill,
    RealClock,
    ScriptedCompare,
    StagedAnalyzer,
    check_frame,
    request,
)
from tests.terminal.test_terminal import LIMITS

TOO_LARGE = CompareError("HTTP 413", code="compare_config")


class World:
    """A terminal whose API gives these answers."""

    def __init__(self, *answers: AgentError | float) -> None:
        self.till, self.compare = QueueTill(), ScriptedCompare(*answers)
        doubles = (RealClock(), PacedCamera(), StagedAnalyzer(), self.compare, self.till, MemoryClaimStore())
        self.terminal = Terminal(Ports(*doubles, check_frame), Settings(EPOCH, LIMITS, 50, Assurance()))

    @property
    def active(self) -> tuple[Condition, ...]:
        return self.terminal.conditions.active

    async def verify(self) -> None:
        count = len(self.till.delivered) + 1
        await self.till.inbox.put(RequestReceived(request(f"r-{count}", budget_ms=60_000)))
        await self.till.until(lambda: len(self.till.delivered) == count)


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[World]:
    stop = asyncio.Event()
    task = asyncio.create_task(world.terminal.serve(stop))
    try:
        yield world
    finally:
        stop.set()
        await task


async def test_fault_of_calls_stays_visible_when_checks_clear_its_condition() -> None:
    async with serving(World(*[TOO_LARGE] * VERIFICATIONS_MIN, 93.0)) as world:
        for _ in range(VERIFICATIONS_MIN):
            await world.verify()
            assert COMPARE_CONFIG in world.active
            world.terminal.conditions.clear(COMPARE_CONFIG)  # a check without a picture succeeds
        assert world.active == (COMPARE_FAILING,)
        await world.verify()
        assert not world.active


async def test_fault_of_one_outage_is_one_condition() -> None:
    async with serving(World(TOO_LARGE)) as world:
        for _ in range(VERIFICATIONS_MIN):
            await world.verify()
        assert world.active == (COMPARE_CONFIG,)
