"""Limits of the broker connection exactly at their values, and answers to abandoned attempts."""

from __future__ import annotations

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from agent.config import MqttConfig
from agent.errors import TillError
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import BrokerLimits, ClientOptions, Message
from agent.mqtt.publisher import Publisher
from agent.mqtt.reason_codes import BrokerProblem
from agent.mqtt.status import LOST_SOON_MAX, BrokerStatus


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


async def test_packet_of_exactly_the_largest_size_is_sent() -> None:
    publisher, message = Publisher(BrokerStatus(lambda *_: None)), Message("a/topic", b"payload")
    publisher.limits = BrokerLimits(packet_max_bytes=message.packet_bytes)
    assert publisher._checked(message).size_bytes == message.packet_bytes
    publisher.limits = BrokerLimits(packet_max_bytes=message.packet_bytes - 1)
    with pytest.raises(TillError) as caught:
        publisher._checked(message)
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
