"""Each declared condition: provoked for real, shown the same way everywhere, and gone when mended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.control.server import ask, path_for
from agent.health.conditions import CONDITIONS
from agent.kits.till.client import TillClient
from tests.diagnostics.kit import findings
from tests.e2e.agents import TOPICS
from tests.health import stories_board, stories_camera, stories_compare, stories_mqtt
from tests.health.stage import Stage, Story

STORIES: dict[str, Story] = (
    stories_camera.STORIES | stories_compare.STORIES | stories_mqtt.STORIES | stories_board.STORIES
)


def test_every_declared_condition_has_a_story_and_no_story_is_left_over() -> None:
    assert set(STORIES) == set(CONDITIONS)


@pytest.mark.parametrize("code", CONDITIONS)
async def test_a_condition_comes_is_seen_everywhere_and_goes(code: str, stage: Stage) -> None:
    async with STORIES[code](stage):
        await stage.until(lambda: stage.causes() == [code])
        document = await asyncio.to_thread(ask, path_for(stage.place.storage))
        assert [each["code"] for each in document["conditions"]] == [code]
        assert document["conditions"][0]["fix"] == str(CONDITIONS[code].fix)
        assert document["status"] == "degraded"
        found = await asyncio.to_thread(findings, stage.place.world(), "agent.conditions")
        assert code in found["agent.conditions"].why
        if stage.running.till.link.connected and not code.startswith("mqtt_"):
            assert await published(stage) == ["degraded", code]
    await stage.until(lambda: code not in stage.shown())
    assert await published(stage) == ["online"]


async def published(stage: Stage) -> list[str]:
    """Status and conditions of the retained ``state``, once they are what the terminal shows."""
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def hear(topic: str, tree: dict[str, Any]) -> None:
        if topic == TOPICS.state:
            told.put_nowait(tree)

    till = TillClient(stage.agent_config().mqtt, TOPICS, "till-9", on_message=hear)
    await till.start()
    try:
        async with asyncio.timeout(30):
            while (said := await told.get())["conditions"] != stage.causes():
                pass
    finally:
        await till.stop()
    return [said["status"], *said["conditions"]]
