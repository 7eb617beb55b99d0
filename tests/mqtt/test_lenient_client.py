"""A message, a keep-alive or a packet that paho handles badly neither cuts nor hides the connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.properties import Properties

from agent.config import MqttConfig
from agent.mqtt.connection import Connection
from agent.mqtt.lenient_client import with_expiry_only
from agent.mqtt.paho_client import ClientOptions, Message
from agent.mqtt.reason_codes import BrokerProblem
from tests.brokers import Mosquitto
from tests.mqtt.scripted import Script, connack, puback, scripted
from tests.mqtt.test_status import Watched, started

pytestmark = pytest.mark.forged  # the payloads are no valid messages of the contract

TOPIC = b"a"
EXPIRY = b"\x02\x00\x00\x00\x1e"  # 30 s


def text(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


BYTE_ORDER_MARK = "\ufeff".encode()
PROPERTIES = {
    "content type with U+FEFF": b"\x03" + text(BYTE_ORDER_MARK + b"json"),
    "response topic with U+FEFF": b"\x08" + text(BYTE_ORDER_MARK),
    "user property with U+FEFF": b"\x26" + text(b"name") + text(BYTE_ORDER_MARK),
    "payload format 9": b"\x01\x09",
    "correlation data": b"\x09" + text(b"\xff\x00"),
}
NOT_UTF_8 = b"\x26" + text(b"\xff") + text(b"value")


def publish(properties: bytes, payload: bytes = b"request") -> bytes:
    """A PUBLISH with QoS 1 and message id 1, at most 127 bytes."""
    body = text(TOPIC) + b"\x00\x01" + bytes([len(properties)]) + properties + payload
    return bytes([0x32, len(body)]) + body


def send(port: int, packet: bytes) -> None:
    """Publish these bytes as a client of their own, until the broker accepts them."""
    connect = b"\x00\x04MQTT\x05\x02\x00\x3c\x00" + text(b"till")
    with socket.create_connection(("127.0.0.1", port), 60) as link:
        link.sendall(bytes([0x10, len(connect)]) + connect)
        assert link.recv(1)[:1] == b"\x20", "CONNACK"
        link.sendall(packet)
        link.settimeout(60)
        with contextlib.suppress(ConnectionError):
            while link.recv(4_096)[-4:-3] != b"\x40":  # PUBACK
                pass


@contextlib.asynccontextmanager
async def receiving(port: int) -> AsyncIterator[tuple[Connection, asyncio.Queue[Message]]]:
    received: asyncio.Queue[Message] = asyncio.Queue()
    is_ready = asyncio.Event()
    options = ClientOptions("terminal", [("a", 1)], received.put_nowait, is_ready.set)
    connection = Connection(MqttConfig(port=port), options)
    await connection.start()
    try:
        await asyncio.wait_for(is_ready.wait(), 60)
        yield connection, received
    finally:
        await connection.stop()


async def test_message_with_any_property_that_mosquitto_forwards_is_delivered(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    try:
        async with receiving(broker.port) as (_, received):
            for name, properties in PROPERTIES.items():
                await asyncio.to_thread(send, broker.port, publish(properties + EXPIRY, name.encode()))
                message = await asyncio.wait_for(received.get(), 60)
                assert (message.payload, message.expires_in_s) == (name.encode(), 30)
    finally:
        broker.stop()


async def test_message_with_a_property_that_is_not_utf_8_is_delivered() -> None:
    """mosquitto refuses such a message, other brokers forward it."""
    script = Script(on_publish=lambda _topic, _payload, mid: puback(mid) + publish(NOT_UTF_8))
    async with scripted(script) as port, receiving(port) as (connection, received):
        await connection.publish(Message("b", b""))
        assert (await asyncio.wait_for(received.get(), 60)).payload == b"request"


async def test_unused_properties_of_a_message_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """paho needs quadratic time for them: a single message could hold the messages of all other tills."""
    decoded = list[int]()
    read: Callable[[Properties, bytes, int, int], object] = Properties.readProperty

    def counted(self: Properties, buffer: bytes, kind: int, left: int) -> object:
        decoded.append(kind)
        return read(self, buffer, kind, left)

    monkeypatch.setattr(Properties, "readProperty", counted)
    block = (b"\x26" + text(b"") + text(b"")) * 10 + EXPIRY
    script = Script(on_publish=lambda _topic, _payload, mid: puback(mid) + publish(block))
    async with scripted(script) as port, receiving(port) as (connection, received):
        await connection.publish(Message("b", b""))
        assert (await asyncio.wait_for(received.get(), 60)).expires_in_s == 30
    assert len(decoded) == 1


@pytest.mark.parametrize("server_s", [0, 600])
async def test_pings_are_sent_as_often_as_the_config_requires(server_s: int) -> None:
    """Otherwise a connection that died silently stays ONLINE for the time of the broker, or for ever."""
    script = Script(connack=connack(properties=b"\x13" + server_s.to_bytes(2, "big")))
    async with scripted(script) as port:
        watched = Watched(port)
        watched.connection._config = watched.connection._config.model_copy(update={"keepalive_s": 1})
        async with started(watched):
            await asyncio.wait_for(script.pinged.wait(), 60)


@pytest.mark.parametrize(
    "packet",
    [b"\x30\x02\x00\x09", b"\x32\x03\x00\x01a", b"\x40\x05\x00\x01\x00\x02\x7f"],
    ids=["topic", "id", "puback"],
)
async def test_unreadable_packet_is_reported_as_a_fault_of_the_protocol(packet: bytes) -> None:
    async with scripted(Script(on_publish=lambda *_: packet)) as port, started(Watched(port)) as watched:
        await asyncio.wait_for(watched.up.wait(), 60)
        with contextlib.suppress(Exception):
            await watched.connection.publish(Message("b", b""))
        async with asyncio.timeout(60):
            while BrokerProblem.PROTOCOL not in watched.active:
                assert BrokerProblem.TAKEN_OVER not in watched.active
                await watched.changes.get()


strings = st.binary(max_size=30).map(text)
properties = st.one_of(
    st.binary(min_size=1, max_size=1).map(lambda value: b"\x01" + value),
    st.binary(min_size=2, max_size=2).map(lambda value: b"\x23" + value),
    st.tuples(st.sampled_from([b"\x03", b"\x08", b"\x09"]), strings).map(b"".join),
    st.tuples(strings, strings).map(lambda pair: b"\x26" + b"".join(pair)),
    st.sampled_from([b"\x0b\x01", b"\x0b\xff\xff\xff\x7f"]),
)


def number(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + number(value >> 7)


@given(
    st.lists(properties, max_size=20),
    st.lists(properties, max_size=20),
    st.booleans(),
    st.booleans(),
    st.binary(max_size=20),
)
def test_with_expiry_only_keeps_topic_id_expiry_and_payload(
    before: list[bytes], after: list[bytes], has_expiry: bool, has_id: bool, payload: bytes
) -> None:
    expiry = EXPIRY * has_expiry
    head = text(TOPIC) + b"\x00\x07" * has_id
    block = b"".join(before) + expiry + b"".join(after)
    packet = head + number(len(block)) + block + payload
    assert with_expiry_only(packet, has_id=has_id) == head + number(len(expiry)) + expiry + payload


@given(st.binary(max_size=60), st.booleans())
def test_with_expiry_only_of_any_bytes_raises_nothing_else(packet: bytes, has_id: bool) -> None:
    with contextlib.suppress(MalformedPacket):
        with_expiry_only(packet, has_id=has_id)


@pytest.mark.parametrize(
    "block",
    [EXPIRY + EXPIRY, b"\x7f\x00", b"\x26\x00\x70", b"\x02\x00", b"\x0b\xff\xff\xff\xff\x01"],
)
def test_with_expiry_only_refuses_what_cannot_be_separated(block: bytes) -> None:
    """paho would copy the rest of the packet for each property: 3.7 s for 45 000 of them."""
    packet = text(TOPIC) + number(len(block)) + block + b"payload"
    with pytest.raises(MalformedPacket):
        with_expiry_only(packet, has_id=False)
