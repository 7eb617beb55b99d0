"""Limits of the broker connection exactly at their values, and answers to abandoned attempts."""

from __future__ import annotations

import socket

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from agent.config import MqttConfig
from agent.errors import TillError
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import BrokerLimits, ClientOptions, Message
from agent.mqtt.publisher import PUBLISH_CUT, Publisher
from agent.mqtt.reason_codes import BrokerProblem
from agent.mqtt.status import LOST_SOON_MAX, BrokerStatus, SentPacket


class RecordingClient(Client):
    """A client without a connection."""

    disconnects = 0

    def disconnect(self, *_arguments: object) -> MQTTErrorCode:
        self.disconnects += 1
        return MQTTErrorCode.MQTT_ERR_SUCCESS


async def test_answer_to_an_abandoned_attempt_is_no_second_connection() -> None:
    connection = Connection(MqttConfig(), ClientOptions("id", [], lambda _message: None, lambda: None))
    client = RecordingClient(CallbackAPIVersion.VERSION2)
    connection.on_connack(client, ReasonCode(PacketTypes.CONNACK, "Success"), None)
    assert client.disconnects == 1 and not connection.is_connected


async def test_message_and_puback_of_an_earlier_connection_have_no_effect() -> None:
    """Message ids start anew with each connection: an old PUBACK would confirm another result."""
    received = list[Message]()
    connection = Connection(MqttConfig(), ClientOptions("id", [], received.append, lambda: None))
    earlier = RecordingClient(CallbackAPIVersion.VERSION2)
    connection._publisher._unacknowledged[1] = SentPacket("a/result", 100)
    connection.on_puback(earlier, 1, ReasonCode(PacketTypes.PUBACK, "Success"), None)
    connection._deliver(earlier, MQTTMessage(topic=b"a/request"))
    assert list(connection._publisher._unacknowledged) == [1] and received == []


class SilentClient(RecordingClient):
    """Sends each message to a broker that does not answer."""

    def __init__(self, link: socket.socket) -> None:
        super().__init__(CallbackAPIVersion.VERSION2)
        self.link = link

    def publish(self, *_arguments: object) -> MQTTMessageInfo:
        return MQTTMessageInfo(1)

    def socket(self) -> socket.socket:
        return self.link


async def test_connection_of_an_unanswered_publish_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise paho sends the message later: a match that is out of time."""
    monkeypatch.setattr("agent.mqtt.publisher.PUBACK_TIMEOUT_S", 0.01)
    near, far = socket.socketpair()
    with near, far:
        far.settimeout(60)
        publisher = Publisher(BrokerStatus(lambda *_: None))
        with pytest.raises(TillError) as caught:
            await publisher.publish(SilentClient(near), Message("a/result", b"{}"), 1)
        assert caught.value.code == PUBLISH_CUT and far.recv(1) == b""


async def test_packet_of_exactly_the_largest_size_is_sent() -> None:
    publisher, message = Publisher(BrokerStatus(lambda *_: None)), Message("a/topic", b"payload")
    publisher.limits = BrokerLimits(packet_max_bytes=message.packet_bytes)
    assert publisher._within_limits(message).size_bytes == message.packet_bytes
    publisher.limits = BrokerLimits(packet_max_bytes=message.packet_bytes - 1)
    with pytest.raises(TillError) as caught:
        publisher._within_limits(message)
    assert caught.value.code == "packet_too_large"


async def test_client_id_counts_as_taken_after_exactly_so_many_short_connections() -> None:
    active = set[BrokerProblem]()
    status = BrokerStatus(
        lambda problem, is_active, _: (active.add if is_active else active.discard)(problem)
    )
    for number in range(LOST_SOON_MAX):
        assert active == set(), number
        status.note_connected("")
        status.note_lost(None, "", ())
    assert active == {BrokerProblem.TAKEN_OVER}
    status.close()
