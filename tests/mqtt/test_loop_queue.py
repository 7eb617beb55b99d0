"""The queue from paho's thread to the event loop keeps its limits exactly."""

from __future__ import annotations

import asyncio

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from agent.mqtt.loop_queue import WAITING_MAX_BYTES, LoopQueue


def message(size: int) -> MQTTMessage:
    made = MQTTMessage(topic=b"a/topic")
    made.payload = bytes(size)
    return made


async def dropped(sizes: list[int], waiting_max: int) -> int:
    """The dropped messages of a burst; all others are handled."""
    handled = list[int]()
    queue = LoopQueue(
        asyncio.get_running_loop(),
        lambda _topic: True,
        lambda _client, each: handled.append(len(each.payload)),
        waiting_max,
    )
    client = Client(CallbackAPIVersion.VERSION2)
    for size in sizes:
        queue.put(client, message(size))
    async with asyncio.timeout(60):
        while len(handled) + queue.dropped < len(sizes):  # noqa: ASYNC110
            await asyncio.sleep(0)
    return queue.dropped


async def test_burst_of_exactly_the_limit_is_queued() -> None:
    assert await dropped([1] * 3, waiting_max=3) == 0
    assert await dropped([1] * 4, waiting_max=3) == 1


async def test_messages_of_exactly_the_limit_in_bytes_are_queued() -> None:
    half = WAITING_MAX_BYTES // 2
    assert await dropped([half, half], waiting_max=3) == 0
    assert await dropped([half, half, 1], waiting_max=3) == 1
