"""The payer's screen opens once the state directory can be written again."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.config import Config
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import DISPLAY_UNAVAILABLE
from agent.page.display_key import FILE
from agent.root import opener
from agent.root.display import DisplayWiring
from agent.root.wiring import BootClock
from tests.brokers import free_port
from tests.page.kit import until


async def test_screen_opens_after_its_start_page_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opener, "AGAIN_S", 0.01)
    config = Config.model_validate(
        {
            "profile": "demo",
            "storage": {"directory": str(tmp_path)},
            "display": {"listen": "loopback", "port": free_port()},
        }
    )
    conditions = ConditionTracker(BootClock().now_ms)
    handle: Any = SimpleNamespace(
        reload=SimpleNamespace(config=config), terminal=SimpleNamespace(conditions=conditions)
    )
    blocked = tmp_path / FILE
    blocked.mkdir()
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        await DisplayWiring(config, BootClock()).open(stack, handle)
        assert conditions.active == (DISPLAY_UNAVAILABLE,)
        blocked.rmdir()
        await until(lambda: not conditions.active)
        assert str(config.display.port) in blocked.read_text()
