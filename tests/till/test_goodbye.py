"""What ``state`` says last: a terminal that ends is never called online again, whatever changes meanwhile."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.brokers import Mosquitto
from tests.till.test_both_sides import Wire, terminal, wire


async def said(ear: Wire) -> str:
    return str(json.loads((await ear.next("state")).payload)["status"])


async def kept(port: int) -> str:
    """What the broker tells whoever comes now."""
    ear = Wire(port)
    await ear.link.start()
    try:
        return await said(ear)
    finally:
        await ear.link.stop()


async def test_a_condition_that_changes_during_the_end_does_not_take_the_goodbye_back(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with terminal(broker.port, tmp_path) as side, wire(broker.port) as ear:
        await side.till.announce("stopping")
        await side.till.announce()
        assert [await said(ear), await said(ear)] == ["stopping", "stopping"]


async def test_nothing_is_said_after_offline(broker: Mosquitto, tmp_path: Path) -> None:
    """Else a terminal that is gone would be called online for ever: a clean end sends no last will."""
    async with terminal(broker.port, tmp_path) as side, wire(broker.port):
        await asyncio.gather(side.till.stop(), side.till.announce())
        assert await kept(broker.port) == "offline"


async def test_a_broker_that_comes_back_during_the_end_hears_that_it_is_one(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with terminal(broker.port, tmp_path) as side, wire(broker.port):
        await side.till.announce("stopping")
        broker.kill()
        broker.start()
        assert await kept(broker.port) == "stopping"
