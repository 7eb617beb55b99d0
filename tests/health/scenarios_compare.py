"""Faults of the compare service, of the account, and cost limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.core import attempt_limits
from agent.root.wiring import BootClock
from agent.service.faults import InjectedFault
from agent.service.settings import EXAMPLE_SECRET
from tests.health.stage import Scenario, Stage

MATCH = "match/same_person"


@asynccontextmanager
async def compare_service_is_stopped(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    await stage.service.stop()
    assert await stage.verify() == "undecided/compare_unreachable"
    yield
    await stage.service.start()
    assert await stage.verify() == MATCH


@asynccontextmanager
async def compare_service_answers_too_late(stage: Stage) -> AsyncIterator[None]:
    stage.config["verification"] = {"ask_timeout_ms": 2_000}
    await stage.start()
    await stage.serve_with(InjectedFault("latency", 6_000))
    assert await stage.verify() == "undecided/compare_unreachable"
    yield
    await stage.serve_with()
    assert await stage.verify() == MATCH


@asynccontextmanager
async def wrong_secret_key_is_installed(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    stage.place.secret.write_bytes(b"another key")
    assert await stage.verify() == "undecided/compare_credentials"
    yield
    stage.place.secret.write_bytes(EXAMPLE_SECRET)
    assert await stage.verify() == MATCH, "the key file is read again, without a restart"


@asynccontextmanager
async def account_is_suspended(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    await stage.serve_account(suspended=True)
    assert await stage.verify() == "undecided/compare_account"
    yield
    await stage.serve_account()
    assert await stage.verify() == MATCH


@asynccontextmanager
async def bucket_is_of_another_account(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    await stage.serve_account(buckets=("elsewhere",))
    assert await stage.verify() == "undecided/compare_config"
    yield
    await stage.serve_account(buckets=("terminals",))
    assert await stage.verify() == MATCH


@asynccontextmanager
async def wall_clock_is_an_hour_slow(stage: Stage) -> AsyncIterator[None]:
    class Slow(BootClock):
        behind_ms = 3_600_000

        def unix_ms(self) -> int:
            return super().unix_ms() - self.behind_ms

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.root.daemon.BootClock", Slow)
        await stage.start()
    assert await stage.verify() == "undecided/clock"
    yield
    Slow.behind_ms = 0
    assert await stage.verify() == MATCH


@asynccontextmanager
async def calls_per_minute_reach_the_limit(stage: Stage) -> AsyncIterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempt_limits, "MINUTE_MS", 10_000)
        stage.config["guard"] = {"calls_per_minute": 1}
        await stage.start()
        assert await stage.verify() == MATCH
        assert await stage.verify() == "undecided/cost_limit"
        yield
        patch.setattr(attempt_limits, "MINUTE_MS", 0)  # the minute is over
        assert await stage.verify() == MATCH


@asynccontextmanager
async def calls_per_day_reach_the_warning(stage: Stage) -> AsyncIterator[None]:
    stage.config["guard"] = {"calls_per_day_warning": 2}
    await stage.start()
    assert [await stage.verify(), await stage.verify()] == [MATCH, MATCH]
    yield
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempt_limits, "DAY_MS", 0)
        patch.setattr(attempt_limits, "_SLOT_MS", 1)  # the next day
        assert await stage.verify() == MATCH


SCENARIOS: dict[str, Scenario] = {
    "compare_unreachable": compare_service_is_stopped,
    "compare_slow": compare_service_answers_too_late,
    "compare_credentials": wrong_secret_key_is_installed,
    "compare_account": account_is_suspended,
    "compare_config": bucket_is_of_another_account,
    "clock": wall_clock_is_an_hour_slow,
    "cost_limit": calls_per_minute_reach_the_limit,
    "cost_high": calls_per_day_reach_the_warning,
}
