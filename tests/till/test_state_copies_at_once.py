"""Many tills that ask for ``state`` at once: each gets a copy, and no other publish is refused for them."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from agent.messages.encode import TerminalIdentity
from agent.messages.signing import Signer
from agent.messages.topics import STATE_COPY, Topics
from agent.mqtt.paho_client import Message
from agent.mqtt.publisher import IN_FLIGHT_MAX, Publisher
from agent.mqtt.status import BrokerStatus
from agent.tasks import Background
from agent.till.state_publisher import StateFacts, StatePublisher

TOPICS = Topics("shop", "terminal-1")
TILLS = [f"till-{number}" for number in range(2 * IN_FLIGHT_MAX)]


class Broker:
    """A paho client whose broker answers when ``answer`` is called."""

    def __init__(self) -> None:
        self.sending = Publisher(BrokerStatus(lambda *_: None))
        self.topics: list[str] = []
        self._ids, self._answered = itertools.count(1), itertools.count(1)

    def publish(self, topic: str, *_: object) -> Any:
        self.topics.append(topic)
        return SimpleNamespace(rc=MQTTErrorCode.MQTT_ERR_SUCCESS, mid=next(self._ids))

    async def send(self, message: Message) -> None:
        await self.sending.publish(self, message, 1)  # type: ignore[arg-type]

    async def answer(self) -> None:
        """Answer the oldest unanswered publish."""
        self.sending.handle_puback(next(self._answered), ReasonCode(PacketTypes.PUBACK, "Success"), None)
        await turns()


async def turns() -> None:
    """Let the loop run what is ready."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_tills_get_a_copy_each_and_leave_room_for_a_result() -> None:
    broker, background = Broker(), Background()
    who = TerminalIdentity("shop", "terminal-1", "boot", "e-1")
    state_facts = StateFacts(lambda: "online", dict, Signer.generate())
    publisher = StatePublisher(TOPICS, who, state_facts, broker.send, background, lambda: 0.0)
    announced = asyncio.create_task(publisher.announce())
    await turns()
    await broker.answer()
    await announced
    for till in TILLS * 2:
        publisher.send_copy(till)
    await turns()
    result = asyncio.create_task(broker.send(Message(TOPICS.verify("till-1", "result"), b"{}")))
    await turns()
    assert not result.done(), "refused: too many publishes wait for a PUBACK"
    for _ in range(len(TILLS) + 1):
        await broker.answer()
    await result
    copies = [topic for topic in broker.topics if topic.endswith(STATE_COPY)]
    assert copies == [TOPICS.verify(till, STATE_COPY) for till in TILLS]
    await background.close()


async def test_a_result_waits_for_a_place_while_many_publishes_are_unanswered() -> None:
    broker = Broker()
    others = [
        asyncio.create_task(broker.send(Message(f"t/{number}", b""))) for number in range(IN_FLIGHT_MAX)
    ]
    await turns()
    waiting = asyncio.create_task(broker.sending.wait_until_free(broker))  # type: ignore[arg-type]
    await turns()
    assert not waiting.done(), "the next publish would be refused"
    await broker.answer()
    await waiting
    for _ in range(IN_FLIGHT_MAX - 1):
        await broker.answer()
    await asyncio.gather(*others)
