"""A slow API that recovers: the same process serves the next payer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from agent.config.file import load
from agent.resources import config_file
from agent.service.compare_service import CompareService
from agent.service.faults import InjectedFault
from agent.service.settings import ServiceConfig
from tests.e2e.agents import BUSY_S, ENROLLED, Place, running, till_of

REQUESTS = 6
ASK_TIMEOUT_MS = 800


@pytest.fixture
def service() -> Iterator[CompareService]:
    """A separate service, because the test stops and starts it."""
    made = CompareService(load(config_file("service.toml"), ServiceConfig).model_copy(update={"port": 0}))
    made._faults = (InjectedFault("latency", 3_000),)
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


async def test_slow_answers_do_not_wedge_the_terminal(place: Place) -> None:
    config = place.config("one_obama_podium", f"[verification]\nask_timeout_ms = {ASK_TIMEOUT_MS}\n")
    async with running(config), till_of(place) as (till, _):
        api_ms = list[
            int
        ]()  # of the requests with an API call: on a busy machine, one can end before it is sent
        for _ in range(REQUESTS):
            verdict = await till.ask(ENROLLED, ttl_ms=8_000)
            assert f"{verdict.decision}/{verdict.reason}" == "undecided/compare_unreachable"
            if verdict.result["asks"]:
                api_ms.append(verdict.result["timings_ms"]["api"])
        assert api_ms and min(api_ms) > 0, "the wait is booked as API time"
        await place.service.stop()
        place.service._faults = ()
        await place.service.start()
        async with asyncio.timeout(BUSY_S):  # on a machine with other work, a call can take longer than 0.8 s
            while (await till.ask(ENROLLED, ttl_ms=8_000)).decision != "match":
                pass
