"""Faults of the compare service, of the account, and cost limits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from agent.compare.base import CompareClient
from agent.core import attempt_limits
from agent.health.result_meter import VERIFICATIONS_MIN
from agent.root import self_checks
from agent.root.wiring import BootClock
from agent.service.faults import InjectedFault
from agent.service.settings import EXAMPLE_SECRET
from tests.compare.servers import endpoint, http, replies
from tests.e2e.agents import ENROLLED
from tests.health.stage import LONG_LIMITS, WAIT_S, Scenario, Stage

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
    stage.config["verification"] = LONG_LIMITS | {"ask_timeout_ms": 3_000}
    await stage.start()
    await stage.serve_with(InjectedFault("latency", 12_000))
    assert await stage.verify() == "undecided/compare_unreachable"
    yield
    await stage.serve_with()
    async with asyncio.timeout(WAIT_S):
        while await stage.verify() != MATCH:  # a machine with other work can still be too slow
            pass


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
        patch.setattr(attempt_limits, "MINUTE_MS", 600_000)
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
        patch.setattr(attempt_limits, "_PERIOD_MS", 1)  # the next day
        assert await stage.verify() == MATCH


@asynccontextmanager
async def login_page_answers_in_place_of_the_api(stage: Stage) -> AsyncIterator[None]:
    async def portal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        page = b"<html>Please log in</html>"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page))
        await writer.drain()
        writer.close()

    await stage.start()
    port = urlsplit(stage.service.url).port
    await stage.service.stop()
    async with await asyncio.start_server(portal, "127.0.0.1", port):
        assert await stage.verify() == "undecided/compare_malformed"
        yield
    await stage.service.start()
    assert await stage.verify() == MATCH


@asynccontextmanager
async def clock_differs_from_that_of_the_api(stage: Stage) -> AsyncIterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FIRST_AFTER_S", "EVERY_S", "AGAIN_S"):
            patch.setattr(self_checks, name, 0.1)
        patch.setattr(CompareClient, "clock_offset_ms", lambda _client: 7_200_000)
        await stage.start()
        yield
        patch.setattr(CompareClient, "clock_offset_ms", lambda _client: 0)
        await stage.until(lambda: not stage.causes())


@asynccontextmanager
async def api_refuses_each_call_with_a_code_of_no_condition(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    await stage.serve_with(InjectedFault("code", -1200))
    for _ in range(VERIFICATIONS_MIN):
        assert await stage.verify() == "undecided/compare_failed"
    yield
    await stage.serve_with()
    assert await stage.verify() == MATCH


@asynccontextmanager
async def photos_are_on_a_host_that_is_not_allowed(stage: Stage) -> AsyncIterator[None]:
    async with endpoint(replies(http(ENROLLED))) as server:
        host = f"localhost:{server.port}"
        stage.config["compare"] = {"reference_hosts": (host,)}
        await stage.start()
        for _ in range(VERIFICATIONS_MIN):
            assert await stage.verify(photo="https://photos.test/1.jpg") == "undecided/reference_refused"
        assert await stage.verify() == MATCH, "a photo inside the request shows nothing about the hosts"
        yield
        assert await stage.verify(photo=f"http://{host}/1.jpg") == MATCH


SCENARIOS: dict[str, Scenario] = {
    "compare_unreachable": compare_service_is_stopped,
    "compare_slow": compare_service_answers_too_late,
    "compare_credentials": wrong_secret_key_is_installed,
    "compare_account": account_is_suspended,
    "compare_config": bucket_is_of_another_account,
    "clock": wall_clock_is_an_hour_slow,
    "clock_offset": clock_differs_from_that_of_the_api,
    "compare_not_api": login_page_answers_in_place_of_the_api,
    "compare_failing": api_refuses_each_call_with_a_code_of_no_condition,
    "photos_failing": photos_are_on_a_host_that_is_not_allowed,
    "cost_limit": calls_per_minute_reach_the_limit,
    "cost_high": calls_per_day_reach_the_warning,
}
