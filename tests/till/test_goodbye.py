"""The final ``state``: a terminal that stops is never published as online again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.brokers import Mosquitto
from tests.till.test_both_sides import RawTill, raw_till, terminal


async def next_status(till: RawTill) -> str:
    return str(json.loads((await till.next("state")).payload)["status"])


async def retained_status(port: int) -> str:
    """The status in the retained ``state``, as a new subscriber receives it."""
    till = RawTill(port)
    await till.connection.start()
    try:
        return await next_status(till)
    finally:
        await till.connection.stop()


async def test_announce_after_stopping_keeps_stopping(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port) as till:
        await running.till.state.announce("stopping")
        await running.till.state.announce()
        assert [await next_status(till), await next_status(till)] == ["stopping", "stopping"]


async def test_announce_after_offline_keeps_offline(broker: Mosquitto, tmp_path: Path) -> None:
    """A clean disconnect sends no will: a later ``online`` would stay retained."""
    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port):
        await asyncio.gather(running.till.stop(), running.till.state.announce())
        assert await retained_status(broker.port) == "offline"


async def test_reconnect_after_stopping_publishes_stopping(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port):
        await running.till.state.announce("stopping")
        broker.kill()
        broker.start()
        assert await retained_status(broker.port) == "stopping"
