"""A request that waited in the socket during a pause of the terminal is refused, with or without expiry."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agent.core.pauses import BEAT_MS
from agent.messages.topics import REQUEST
from agent.mqtt.paho_client import Message
from tests.brokers import Mosquitto
from tests.fakes import RealClock
from tests.till.test_both_sides import TOPICS, raw_till, request_bytes, terminal


async def test_request_after_a_pause_of_the_terminal_needs_a_send_time(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with terminal(broker.port, tmp_path, shop=True) as running, raw_till(broker.port) as till:
        now_ms = RealClock.now_ms
        monkeypatch.setattr(RealClock, "now_ms", lambda clock: now_ms(clock) + 12_000)  # suspend for 12 s
        topic = TOPICS.verify("till-1", REQUEST)
        await till.connection.publish(Message(topic, request_bytes(), expires_in_s=8))
        event = await till.event("refused")
        assert event["refusal"] == "request_stale" and "paused for 12" in event["detail"]
        assert running.compare.calls == []
        await till.send(
            "request", request_bytes(sent_at_ms=RealClock().unix_ms())
        )  # its send time shows that it is new
        assert (await till.event("accepted"))["budget_ms"] > 0


async def test_request_without_a_pause_needs_an_expiry_only(broker: Mosquitto, tmp_path: Path) -> None:
    async with terminal(broker.port, tmp_path, shop=True), raw_till(broker.port) as till:
        await asyncio.sleep(2 * BEAT_MS / 1e3)
        while True:  # a busy machine can pause this process, too: then the till sends a new request
            topic = TOPICS.verify("till-1", REQUEST)
            await till.connection.publish(Message(topic, request_bytes(), expires_in_s=8))
            event = json.loads((await till.next("event")).payload)
            if event["event"] == "accepted":
                return
            assert "paused" in event["detail"]
            await asyncio.sleep(1)
