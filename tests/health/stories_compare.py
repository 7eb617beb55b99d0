"""What a compare service, its account and its price do to a terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.core import attempt_limits
from agent.root.wiring import BootClock
from agent.service.faults import InjectedFault
from agent.service.settings import EXAMPLE_SECRET
from tests.health.stage import Stage, Story

MATCH = "match/same_person"


@asynccontextmanager
async def the_service_is_stopped(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    await stage.service.stop()
    assert await stage.ask() == "undecided/compare_unreachable"
    yield
    await stage.service.start()
    assert await stage.ask() == MATCH


@asynccontextmanager
async def the_service_thinks_too_long(stage: Stage) -> AsyncIterator[None]:
    stage.config["verification"] = {"ask_timeout_ms": 500}
    await stage.start()
    await stage.serve_with(InjectedFault("latency", 2_000))
    assert await stage.ask() == "undecided/compare_unreachable"
    yield
    await stage.serve_with()
    assert await stage.ask() == MATCH


@asynccontextmanager
async def another_key_is_installed(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    stage.place.secret.write_bytes(b"another key")
    assert await stage.ask() == "undecided/compare_credentials"
    yield
    stage.place.secret.write_bytes(EXAMPLE_SECRET)
    assert await stage.ask() == MATCH, "read anew: no restart is needed"


@asynccontextmanager
async def the_account_is_suspended(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    await stage.serve_account(suspended=True)
    assert await stage.ask() == "undecided/compare_account"
    yield
    await stage.serve_account()
    assert await stage.ask() == MATCH


@asynccontextmanager
async def the_bucket_is_another_accounts(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    await stage.serve_account(buckets=("elsewhere",))
    assert await stage.ask() == "undecided/compare_config"
    yield
    await stage.serve_account(buckets=("terminals",))
    assert await stage.ask() == MATCH


@asynccontextmanager
async def the_clock_is_an_hour_slow(stage: Stage) -> AsyncIterator[None]:
    class Slow(BootClock):
        behind_ms = 3_600_000

        def unix_ms(self) -> int:
            return super().unix_ms() - self.behind_ms

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.root.daemon.BootClock", Slow)
        await stage.start()
    assert await stage.ask() == "undecided/clock"
    yield
    Slow.behind_ms = 0
    assert await stage.ask() == MATCH


@asynccontextmanager
async def two_payers_a_minute_are_too_many(stage: Stage) -> AsyncIterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempt_limits, "MINUTE_MS", 10_000)
        stage.config["guard"] = {"calls_per_minute": 1}
        await stage.start()
        assert await stage.ask() == MATCH
        assert await stage.ask() == "undecided/cost_limit"
        yield
        patch.setattr(attempt_limits, "MINUTE_MS", 0)  # it is over
        assert await stage.ask() == MATCH


@asynccontextmanager
async def more_payers_than_on_any_other_day(stage: Stage) -> AsyncIterator[None]:
    stage.config["guard"] = {"calls_per_day_warning": 2}
    await stage.start()
    assert [await stage.ask(), await stage.ask()] == [MATCH, MATCH]
    yield
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempt_limits, "DAY_MS", 0)
        patch.setattr(attempt_limits, "_SLOT_MS", 1)  # the next day
        assert await stage.ask() == MATCH


STORIES: dict[str, Story] = {
    "compare_unreachable": the_service_is_stopped,
    "compare_slow": the_service_thinks_too_long,
    "compare_credentials": another_key_is_installed,
    "compare_account": the_account_is_suspended,
    "compare_config": the_bucket_is_another_accounts,
    "clock": the_clock_is_an_hour_slow,
    "cost_limit": two_payers_a_minute_are_too_many,
    "cost_high": more_payers_than_on_any_other_day,
}
