"""The broker self-test of the doctor tries each right that an answer to a till needs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.errors import TillError
from agent.messages.topics import Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.mqtt.selftest import BrokerSelfTest
from tests.brokers import Mosquitto
from tests.mqtt.scripted import Script, connack, scripted

TOPICS = Topics("shop", "terminal-1")
RIGHTS = {
    "doctor": TOPICS.doctor,
    "result": f"{TOPICS.base}/verify/+/result",
    "event": f"{TOPICS.base}/verify/+/event",
}


def no_agent() -> bool:
    return False


@pytest.mark.parametrize("missing", [*RIGHTS, ""])
async def test_selftest_missing_right_is_reported_with_its_topic(tmp_path: Path, missing: str) -> None:
    acl = tmp_path / "acl"
    lines = [f"topic write {topic}" for kind, topic in RIGHTS.items() if kind != missing]
    acl.write_text("\n".join(["topic read #", *lines]) + "\n")
    broker = Mosquitto(tmp_path, f"acl_file {acl}").start()
    try:
        probe = await BrokerSelfTest(MqttConfig(port=broker.port), TOPICS, no_agent).run()
    finally:
        broker.stop()
    assert probe.connected
    if missing:
        assert str(probe.publish_error).startswith(f"{missing}: ") and "Not authorized (0x87)" in str(
            probe.publish_error
        )
    else:
        assert not probe.publish_error and probe.roundtrip_ms is not None and probe.will_received


@pytest.mark.parametrize(("reason", "code"), [(0x8A, "mqtt_banned"), (0x84, "mqtt_protocol_refused")])
async def test_selftest_refused_connect_reports_condition_and_reason(reason: int, code: str) -> None:
    async with scripted(Script(connack(reason))) as port:
        probe = await BrokerSelfTest(MqttConfig(port=port), TOPICS, no_agent).run()
    assert (probe.connected, probe.refused) == (False, code)
    assert f"0x{reason:02X}" in str(probe.reason)


async def test_selftest_with_a_running_agent_connects_nothing() -> None:
    script = Script()
    async with scripted(script) as port:
        with pytest.raises(TillError) as refused:
            await BrokerSelfTest(MqttConfig(port=port), TOPICS, lambda: True).run()
    assert refused.value.code == "link_down" and script.connections == 0


async def test_selftest_broker_with_bound_client_ids_delivers_the_will(tmp_path: Path) -> None:
    """As ``config/mosquitto``: the user name is the client id, so two connections replace each other."""
    broker = Mosquitto(tmp_path, "use_username_as_clientid true").start()
    config = MqttConfig(port=broker.port, username="terminal-1")
    received: asyncio.Queue[Message] = asyncio.Queue()
    ready = asyncio.Event()
    later = Connection(config, ClientOptions("later", [(TOPICS.doctor, 1)], received.put_nowait, ready.set))
    try:
        probe = await BrokerSelfTest(config, TOPICS, no_agent).run()
        await later.start()
        await asyncio.wait_for(ready.wait(), 20)
        await later.publish(Message(TOPICS.doctor, b"end"))
        first = await asyncio.wait_for(received.get(), 20)
    finally:
        await later.stop()
        broker.stop()
    assert probe.roundtrip_ms is not None and probe.will_received
    assert first.payload == b"end", "the retained will is cleared"
