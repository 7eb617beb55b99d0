"""Faults of a till: its requests are refused, or it acknowledges no result."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.health import till_meter
from agent.kits.till.client import TillClient
from agent.till import acknowledgements
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, TOPICS
from tests.health.stage import Scenario, Stage


@asynccontextmanager
async def one_till(stage: Stage) -> AsyncIterator[TillClient]:
    await stage.start()
    till = TillClient(stage.agent_config().mqtt, TOPICS, "till-1", pinned=stage.running.public_key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(till_meter, "SPAN_MS", 0)
        await till.start()
        try:
            yield till
        finally:
            await till.stop()


@asynccontextmanager
async def till_requires_an_assurance_that_the_terminal_lacks(stage: Stage) -> AsyncIterator[None]:
    async with one_till(stage) as till:
        for _ in range(till_meter.COUNT_MIN):
            verdict = await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS, more={"require": ["liveness"]})
            assert verdict.reason == "assurance_unmet"
        yield
        assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"


@asynccontextmanager
async def till_acknowledges_no_result(stage: Stage) -> AsyncIterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acknowledgements, "ACCEPTED_MIN", 1)
        async with one_till(stage) as till:
            patch.setattr(till._sender, "ack_later", lambda _id: None)
            results = [(await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).result for _ in range(3)]
            yield
            await till.ack(results[-1]["result_id"])
            await stage.until(lambda: not stage.causes())


SCENARIOS: dict[str, Scenario] = {
    "requests_refused": till_requires_an_assurance_that_the_terminal_lacks,
    "results_unacknowledged": till_acknowledges_no_result,
}
