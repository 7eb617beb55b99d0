"""The broker self-test of the doctor tries each right that an answer to a till needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.messages.topics import Topics
from agent.mqtt.selftest import BrokerSelfTest
from tests.brokers import Mosquitto
from tests.mqtt.scripted import Script, connack, scripted

TOPICS = Topics("shop", "terminal-1")
RIGHTS = {
    "doctor": TOPICS.doctor,
    "result": f"{TOPICS.base}/verify/+/result",
    "event": f"{TOPICS.base}/verify/+/event",
}


@pytest.mark.parametrize("missing", [*RIGHTS, ""])
async def test_selftest_missing_right_is_reported_with_its_topic(tmp_path: Path, missing: str) -> None:
    acl = tmp_path / "acl"
    lines = [f"topic write {topic}" for kind, topic in RIGHTS.items() if kind != missing]
    acl.write_text("\n".join(["topic read #", *lines]) + "\n")
    broker = Mosquitto(tmp_path, f"acl_file {acl}").start()
    try:
        probe = await BrokerSelfTest(MqttConfig(port=broker.port), TOPICS).look()
    finally:
        broker.stop()
    assert probe.connected
    if missing:
        assert (
            probe.publish_error.startswith(f"{missing}: ") and "Not authorized (0x87)" in probe.publish_error
        )
    else:
        assert not probe.publish_error and probe.echo_ms is not None and probe.will_heard


@pytest.mark.parametrize(("reason", "code"), [(0x8A, "mqtt_banned"), (0x84, "mqtt_protocol_refused")])
async def test_selftest_refused_connect_reports_condition_and_reason(reason: int, code: str) -> None:
    async with scripted(Script(connack(reason))) as port:
        probe = await BrokerSelfTest(MqttConfig(port=port), TOPICS).look()
    assert (probe.connected, probe.refused) == (False, code)
    assert f"0x{reason:02X}" in probe.reason
