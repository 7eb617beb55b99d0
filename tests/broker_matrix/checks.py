"""The checks of the broker table: one terminal and one till, each at a port of the broker under test.

Each check returns the text of its cell. A check that cannot fail silently raises instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.config import MqttConfig
from agent.errors import TillError
from agent.kits.till.client import TillClient
from agent.messages.encode import TerminalIdentity, state
from agent.messages.signing import Signer
from agent.messages.topics import GET_STATE, REQUEST, RESULT, STATE_COPY
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message, close_abruptly
from tests.messages.payloads import PHOTO, fresh_id
from tests.till.test_both_sides import TOPICS, RunningTerminal, request_bytes, terminal

WAIT_S = 30.0
ABSENT_S = 3.0  # after that time a message counts as not delivered
YES, NO = "yes", "no"


@dataclass(frozen=True)
class BrokerPorts:
    """Ports of one broker: of the terminal, of the till, and for MQTT 3.1.1 where that is another port."""

    terminal: int
    till: int
    old: int = 0


@dataclass
class Inbox:
    """A connection and its messages."""

    connection: Connection
    messages: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)

    async def next(self, topic_end: str = "", wait_s: float = WAIT_S) -> Message | None:
        """The next message whose topic ends so; None: none arrived in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while True:
                    message = await self.messages.get()
                    if message.topic.endswith(topic_end) and message.payload:
                        return message
        return None


@contextlib.asynccontextmanager
async def connected(port: int, *filters: str, will: Message | None = None) -> AsyncIterator[Inbox]:
    ready = asyncio.Event()
    messages: asyncio.Queue[Message] = asyncio.Queue()
    options = ClientOptions(
        f"check-{fresh_id()}", [(each, 1) for each in filters], messages.put_nowait, ready.set, will
    )
    connection = Connection(MqttConfig(port=port), options)
    await connection.start()
    try:
        await asyncio.wait_for(ready.wait(), WAIT_S)
        await asyncio.sleep(0.3)  # a cluster or a bridge makes the subscription known to its other nodes
        yield Inbox(connection, messages)
    finally:
        await connection.stop()


@contextlib.asynccontextmanager
async def till_client(ports: BrokerPorts, running: RunningTerminal) -> AsyncIterator[TillClient]:
    till = TillClient(MqttConfig(port=ports.till), TOPICS, "till-1", pinned=running.signer.public)
    await till.start()
    try:
        await till.online(WAIT_S)
        yield till
    finally:
        await till.stop()


async def verification(ports: BrokerPorts, folder: Path) -> str:
    """A request, its result, and the acknowledgement."""
    async with terminal(ports.terminal, folder) as running, till_client(ports, running) as till:
        verdict = await till.ask(PHOTO, ttl_ms=8_000)
        assert verdict.decision == "match", verdict
        async with asyncio.timeout(WAIT_S):
            while running.till.result_sender.open_count:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.05)
        assert till.violations == []
        return YES


async def shortest_ttl(ports: BrokerPorts, folder: Path) -> str:
    """Requests with the shortest ttl that carry a message expiry only, on a terminal of a shop."""
    async with (
        terminal(ports.terminal, folder, shop=True),
        connected(ports.till, TOPICS.verify("till-1", "event"), TOPICS.verify("till-1", "result")) as till,
    ):
        topic = TOPICS.verify("till-1", REQUEST)
        async with asyncio.timeout(WAIT_S):
            while True:  # the shortest ttl can end on a busy machine, but not each time
                await till.connection.publish(Message(topic, request_bytes(ttl_ms=1_000), expires_in_s=1))
                answer = await till.next(wait_s=5)
                assert answer is not None, "neither event nor result"
                tree = json.loads(answer.payload)
                if tree.get("event") != "refused" or tree["refusal"] != "request_stale":
                    return YES
                if tree["detail"] != "its time is up":
                    return NO


async def expiry(ports: BrokerPorts, _folder: Path) -> str:
    """What remains of message expiries of 8 s at the terminal.

    One message is not enough. A broker that rounds down leaves 8 s in a message that it forwards within one
    millisecond: RabbitMQ did so in two of three messages. A broker that counts in whole seconds leaves 7 s in
    the one message that it has when a second ends.
    """
    topic = TOPICS.verify("till-1", REQUEST)
    remaining: list[int | None] = []
    async with connected(ports.terminal, topic) as receiver, connected(ports.till) as sender:
        for _ in range(100):
            await sender.connection.publish(Message(topic, b"8", expires_in_s=8))
            message = await receiver.next()
            assert message is not None
            remaining.append(message.expires_in_s)
    if None in remaining:
        return "lost"
    return "whole, rounded down" if remaining.count(7) >= 5 else "kept"


async def retained_exact(ports: BrokerPorts, folder: Path) -> str:
    return await _retained(ports, folder, TOPICS.state)


async def retained_wildcard(ports: BrokerPorts, folder: Path) -> str:
    return await _retained(ports, folder, "facepay/v1/shop/+/state")


async def _retained(ports: BrokerPorts, folder: Path, subscribed: str) -> str:
    """Whether a new subscriber gets the ``state`` that was published before."""
    async with terminal(ports.terminal, folder) as running:
        await _announced(running)
        async with connected(ports.till, subscribed) as till:
            message = await till.next("/state", ABSENT_S)
            return NO if message is None else YES


async def asked_state(ports: BrokerPorts, folder: Path) -> str:
    async with terminal(ports.terminal, folder) as running:
        await _announced(running)
        async with connected(ports.till, TOPICS.verify("till-1", STATE_COPY)) as till:
            await till.connection.publish(Message(TOPICS.verify("till-1", GET_STATE), b"{}"))
            message = await till.next(STATE_COPY)
            assert message is not None, "no answer"
            return YES


async def _announced(running: RunningTerminal) -> None:
    async with asyncio.timeout(WAIT_S):
        while not running.till.state._payload:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)


async def last_will(ports: BrokerPorts, _folder: Path) -> str:
    """The state of a terminal whose connection is cut."""
    who = TerminalIdentity("shop", "terminal-1", "boot", "epoch")
    offline = state("offline", who, None, Signer.generate())
    will = Message(TOPICS.state, offline, retained=True)
    async with connected(ports.till, TOPICS.state) as till:
        async with connected(ports.terminal, will=will) as dying:
            client = dying.connection._client
            assert client is not None
            dying.connection._keep_connected = _never  # type: ignore[method-assign,assignment]
            close_abruptly(client)
            message = await till.next("/state")
            assert message is not None and json.loads(message.payload)["status"] == "offline"
        await till.connection.publish(Message(TOPICS.state, b"", retained=True))
    return YES


async def _never(*_: object) -> None: ...


async def retained_request(ports: BrokerPorts, folder: Path) -> str:
    """Whether a request with the retain flag is refused."""
    topic = TOPICS.verify("till-1", REQUEST)
    async with terminal(ports.terminal, folder) as running:
        await _announced(running)
        async with connected(ports.till, TOPICS.verify("till-1", "event")) as till:
            await till.connection.publish(Message(topic, request_bytes(), retained=True))
            answer = await till.next("/event")
            await till.connection.publish(Message(topic, b"", retained=True))
            assert answer is not None
            return YES if json.loads(answer.payload).get("refusal") == "request_retained" else NO


async def no_subscriber(ports: BrokerPorts, _folder: Path) -> str:
    """Whether the PUBACK reports that no client received the message (``mqtt.ack = "broker"``)."""
    async with connected(ports.terminal) as sender:
        return NO if await sender.connection.publish(Message(TOPICS.verify("nobody", RESULT), b"x")) else YES


async def shared_subscription(ports: BrokerPorts, _folder: Path) -> str:
    """Whether a shared subscription of the back office receives a result."""
    topic = TOPICS.verify("till-1", RESULT)
    try:
        async with (
            connected(ports.till, f"$share/office/{topic}") as office,
            connected(ports.terminal) as sender,
        ):
            await sender.connection.publish(Message(topic, b"x"))
            return YES if await office.next(wait_s=ABSENT_S) else NO
    except (TimeoutError, TillError):
        return NO


async def old_till(ports: BrokerPorts, folder: Path) -> str:
    """A till on MQTT 3.1.1, with ``sent_at_ms`` in place of the message expiry."""
    loop, results = asyncio.get_running_loop(), asyncio.Queue[bytes]()

    def received(_client: Client, _data: object, message: MQTTMessage) -> None:
        loop.call_soon_threadsafe(results.put_nowait, bytes(message.payload))

    def start(client: Client, *_: object) -> None:
        client.subscribe(TOPICS.verify("till-1", RESULT), 1)

    def ready(*_: object) -> None:
        loop.call_soon_threadsafe(subscribed.set)

    async with terminal(ports.terminal, folder) as running:
        await _announced(running)
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        client.on_message = received
        subscribed = asyncio.Event()
        client.on_connect, client.on_subscribe = start, ready
        await asyncio.to_thread(client.connect, "127.0.0.1", ports.old or ports.till)
        client.loop_start()
        try:
            await asyncio.wait_for(subscribed.wait(), WAIT_S)
            await asyncio.sleep(0.3)
            client.publish(TOPICS.verify("till-1", REQUEST), request_bytes(), 1)
            try:
                tree = json.loads(await asyncio.wait_for(results.get(), WAIT_S / 2))
            except TimeoutError:
                return NO
            assert running.signer.public.verify(tree["result"], tree["jws"], "result")
        finally:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)
    return YES


Check = Callable[[BrokerPorts, Path], Awaitable[str]]
CHECKS: dict[str, Check] = {
    "verification: request, result, acknowledgement": verification,
    "retained `state` for a new subscriber": retained_exact,
    "retained `state` for a wildcard subscriber": retained_wildcard,
    "`state` on request (`get_state`)": asked_state,
    "last will after a cut connection": last_will,
    "request with the retain flag is refused": retained_request,
    "message expiry at the terminal": expiry,
    "`ttl_ms` 1000 with message expiry is answered": shortest_ttl,
    "MQTT 3.1.1 till": old_till,
    'PUBACK reports "no subscriber"': no_subscriber,
    "shared subscriptions (`$share`)": shared_subscription,
}
