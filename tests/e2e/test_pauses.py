"""The agent is stopped and continued during an API call: no `face_swapped`, no lost answer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from agent.config import MqttConfig
from agent.config.file import load
from agent.kits.till.client import TillClient
from agent.messages.signing import Signer
from agent.resources import config_file
from agent.service.compare_service import CompareService
from agent.service.faults import InjectedFault
from agent.service.settings import ServiceConfig
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, TOPICS, Place, running

LATENCY_MS = 700  # of the API: the pause below starts during the call


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    config = load(config_file("service.toml"), ServiceConfig).model_copy(update={"port": 0})
    made = CompareService(config, faults=(InjectedFault("latency", LATENCY_MS),))
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


@pytest.mark.parametrize("pause_s", [0.4, 1.0, 1.6])
async def test_a_stopped_and_continued_agent_keeps_the_paid_answer(place: Place, pause_s: float) -> None:
    comparing = asyncio.Event()

    def receive(_topic: str, tree: dict[str, object]) -> None:
        if tree.get("stage") == "comparing":
            comparing.set()

    config = place.config("one_obama_podium")
    async with running(config) as agent:
        key = Signer.load_or_create(place.folder / "state").public
        till = TillClient(
            MqttConfig(port=place.broker.port), TOPICS, "till-1", pinned=key, on_message=receive
        )
        await till.start()
        try:
            for _ in range(3):
                comparing.clear()
                asking = asyncio.create_task(till.ask(ENROLLED, ttl_ms=LONG_TTL_MS))
                await asyncio.wait_for(comparing.wait(), 60)
                agent.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(pause_s)
                agent.process.send_signal(signal.SIGCONT)
                verdict = await asyncio.wait_for(asking, 60)
                assert (verdict.decision, verdict.reason) == ("match", "same_person")
        finally:
            await till.stop()


@pytest.mark.parametrize("fps", [1, 2, 3, 5])
async def test_a_slow_camera_ends_in_a_match(place: Place, fps: int) -> None:
    config = place.config("one_obama_portrait")
    config.write_text(config.read_text().replace("[camera]\n", f"[camera]\nfps = {fps}\n"))
    async with running(config):
        key = Signer.load_or_create(place.folder / "state").public
        till = TillClient(MqttConfig(port=place.broker.port), TOPICS, "till-1", pinned=key)
        await till.start()
        try:
            for _ in range(2):
                verdict = await asyncio.wait_for(till.ask(ENROLLED, ttl_ms=LONG_TTL_MS), 60)
                assert (verdict.decision, verdict.reason) == ("match", "same_person")
        finally:
            await till.stop()
