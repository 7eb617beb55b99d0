"""Three compare services behind HAProxy: no answer is lost while machines stop, fail and come back."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from agent.service.compare_service import CompareService
from tests.brokers import Mosquitto
from tests.cluster.machines import HAPROXY, PROXY_TIMEOUT_S, Clients, Machine, cluster
from tests.e2e.agents import ENROLLED, Place, running, till_of

pytestmark = [
    pytest.mark.long,  # three processes with models, a proxy and an agent under load
    pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed: make haproxy, as root"),
]
LOAD = 4
PATIENT = "[verification]\nask_timeout_ms = 20000\n"
Disturbance = Callable[[Machine], Awaitable[None]]


async def restart(machine: Machine) -> None:
    """As an operator does it: SIGTERM, wait for the end, start again."""
    machine.send(signal.SIGTERM)
    assert await asyncio.to_thread(machine.ended) == 0
    await asyncio.to_thread(machine.start)


async def kill(machine: Machine) -> None:
    machine.send(signal.SIGKILL)
    await asyncio.to_thread(machine.ended)
    await asyncio.sleep(2)
    await asyncio.to_thread(machine.start)


async def stall(machine: Machine) -> None:
    """The process does not run, and its connections stay open."""
    machine.send(signal.SIGSTOP)
    await asyncio.sleep(2 * PROXY_TIMEOUT_S)
    machine.send(signal.SIGCONT)


async def fill(machine: Machine) -> None:
    """Other clients use this machine without the proxy, more than it can serve."""
    others = Clients(machine.program.url)
    async with others.running(3 * LOAD):
        await others.more(40)
    assert set(others.answers) <= {"same", "busy"}, others.answers


DISTURBANCES = pytest.mark.parametrize("disturb", [restart, kill, stall, fill])


@DISTURBANCES
async def test_clients_receive_no_other_error_than_busy(tmp_path: Path, disturb: Disturbance) -> None:
    with cluster(tmp_path) as (machines, url):
        clients = Clients(url)
        async with clients.running(LOAD):
            await clients.more(20)
            for machine in machines:
                await disturb(machine)
                await clients.more(20)
    assert set(clients.answers) <= {"same", "busy"}, clients.answers
    assert clients.answers["same"] >= 20


@DISTURBANCES
async def test_each_request_of_a_till_has_its_result(
    tmp_path: Path, broker: Mosquitto, disturb: Disturbance
) -> None:
    decisions: Counter[str] = Counter()
    with cluster(tmp_path) as (machines, url):
        place = Place(tmp_path, broker, cast("CompareService", SimpleNamespace(url=url)))
        async with running(place.config("one_obama_podium", PATIENT)), till_of(place) as (till, _):

            async def ask_until(ended: asyncio.Task[None]) -> None:
                while not ended.done():
                    result = await till.ask(ENROLLED, ttl_ms=30_000)
                    decisions[f"{result.decision}/{result.reason}"] += 1

            for machine in machines:
                await ask_until(asyncio.ensure_future(disturb(machine)))
            assert not till.violations
    assert set(decisions) <= {"match/same_person", "undecided/compare_busy"}, decisions
    assert decisions["match/same_person"] >= len(machines)
