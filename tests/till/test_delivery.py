"""An exception for one result does not stop the delivery of the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message
from tests.brokers import Mosquitto
from tests.till.test_both_sides import raw_till, request_bytes, terminal


async def test_delivery_unexpected_exception_is_logged_and_the_result_is_sent_again(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish, failures = Connection.publish, [True, True]

    async def failing(connection: Connection, message: Message, qos: int = 1) -> bool:
        if message.topic.endswith("/result") and failures:
            failures.pop()
            raise RuntimeError("unexpected")
        return await publish(connection, message, qos)

    async with terminal(broker.port, tmp_path) as running, raw_till(broker.port) as till:
        monkeypatch.setattr(Connection, "publish", failing)
        await till.send("request", request_bytes())
        async with asyncio.timeout(60):
            await till.next("result")
        assert running.till.result_sender.open_count == 1, "until it is acknowledged"
    assert "bug_in_delivery" in caplog.text
