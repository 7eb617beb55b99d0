"""The till client, without a broker."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent.config import MqttConfig
from agent.kits.till.client import TillClient
from agent.messages.encode import envelope
from agent.messages.signing import Signer
from agent.messages.topics import RESULT, Topics
from agent.mqtt.paho_client import Message

TOPICS = Topics("shop", "terminal-1")


class Clocks:
    """CLOCK_MONOTONIC stops in suspend, CLOCK_BOOTTIME does not."""

    def __init__(self) -> None:
        self.suspended_s, self.boot_s = 0.0, time.clock_gettime

    def clock_gettime(self, clock: int) -> float:
        return self.boot_s(clock) + (self.suspended_s if clock == time.CLOCK_BOOTTIME else 0.0)


@pytest.mark.parametrize(("suspended_s", "is_accepted"), [(0.0, True), (60.0, False)])
async def test_client_that_was_suspended_does_not_accept_a_late_match(
    suspended_s: float, is_accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks, signer = Clocks(), Signer.generate()
    monkeypatch.setattr(time, "clock_gettime", clocks.clock_gettime)
    till = TillClient(MqttConfig(), TOPICS, "till-1", pinned=signer.public)
    sent: asyncio.Queue[Message] = asyncio.Queue()

    async def publish(message: Message) -> None:
        await sent.put(message)

    monkeypatch.setattr(till._link, "publish", publish)
    till._state.fields = {"epoch": "e"}
    till._state.online.set()
    asked = asyncio.create_task(till.ask(b"photo"))
    await sent.get()
    opened = till._open
    assert opened is not None
    result = opened.request.expected | {"result_id": "x", "decision": "match", "reason": "same_person"}
    clocks.suspended_s = suspended_s
    till._received(Message(TOPICS.verify("till-1", RESULT), envelope("result", result, signer)))
    await sent.get()  # the ack: also for a late result
    assert opened.answer.done() == is_accepted, till.violations
    asked.cancel()
    await till.stop()
