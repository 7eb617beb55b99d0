"""One result that breaks something must not keep the others from their tills."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message
from tests.brokers import Mosquitto
from tests.till.test_both_sides import ask_bytes, terminal, wire


async def test_a_bug_while_sending_is_seen_and_the_result_is_sent_again(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish, breaks = Connection.publish, [True, True]

    async def breaking(link: Connection, message: Message, qos: int = 1) -> bool:
        if message.topic.endswith("/result") and breaks:
            breaks.pop()
            raise RuntimeError("nobody thought of this")
        return await publish(link, message, qos)

    async with terminal(broker.port, tmp_path) as side, wire(broker.port) as ear:
        monkeypatch.setattr(Connection, "publish", breaking)
        await ear.send("request", ask_bytes())
        async with asyncio.timeout(15):
            await ear.next("result")
        assert side.till.courier.depth == 1, "until it is acknowledged"
    assert "bug_in_courier" in caplog.text
