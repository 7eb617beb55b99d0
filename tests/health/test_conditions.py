"""Each declared condition: raised by a real fault, shown in every place, cleared after the fault."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.control.server import path_for, request_status
from agent.health.conditions import CONDITIONS
from agent.kits.till.client import TillClient
from tests.diagnostics.kit import findings
from tests.e2e.agents import TOPICS
from tests.health import (
    scenarios_board,
    scenarios_camera,
    scenarios_compare,
    scenarios_mqtt,
    scenarios_till,
)
from tests.health.stage import Scenario, Stage

SCENARIOS: dict[str, Scenario] = (
    scenarios_camera.SCENARIOS
    | scenarios_compare.SCENARIOS
    | scenarios_mqtt.SCENARIOS
    | scenarios_till.SCENARIOS
    | scenarios_board.SCENARIOS
)


def test_every_declared_condition_has_a_scenario() -> None:
    assert set(SCENARIOS) == set(CONDITIONS)


# paho leaves the socket of a failed TLS handshake to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")
@pytest.mark.parametrize("code", CONDITIONS)
async def test_condition_is_raised_shown_everywhere_and_cleared(code: str, stage: Stage) -> None:
    async with SCENARIOS[code](stage):
        await stage.until(lambda: stage.causes() == [code])
        document = await asyncio.to_thread(request_status, path_for(stage.place.storage), timeout_s=60)
        assert [each["code"] for each in document["conditions"]] == [code]
        assert document["conditions"][0]["fix"] == str(CONDITIONS[code].fix)
        assert document["status"] == "degraded"
        found = await asyncio.to_thread(findings, stage.place.inputs(), "agent.conditions")
        assert code in found["agent.conditions"].why
        if stage.running.till.connection.is_connected and not code.startswith("mqtt_"):
            assert await published(stage) == ["degraded", code]
    await stage.until(lambda: code not in stage.shown())
    assert await published(stage) == ["online"]


async def published(stage: Stage) -> list[str]:
    """Status and conditions of the retained ``state``, once equal to those of the terminal."""
    states: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def on_message(topic: str, tree: dict[str, Any]) -> None:
        if topic == TOPICS.state:
            states.put_nowait(tree)

    till = TillClient(stage.agent_config().mqtt, TOPICS, "till-9", on_message=on_message)
    await till.start()
    try:
        async with asyncio.timeout(60):
            while (state := await states.get())["conditions"] != stage.causes():
                pass
    finally:
        await till.stop()
    return [state["status"], *state["conditions"]]
