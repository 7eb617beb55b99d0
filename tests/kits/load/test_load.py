"""The load test: its counts are consistent, and a broker that dies is counted as loss, not as a hang."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.errors import TillError
from agent.kits.load import connections, load
from agent.kits.load.load import Load, run
from tests.brokers import Mosquitto, free_port
from tests.commands import facepay
from tests.mqtt.scripted import NOT_AUTHORISED, Script, scripted
from tests.texts import zh


async def test_a_small_fleet_loses_nothing_and_the_counts_add_up(broker: Mosquitto) -> None:
    report = await run(MqttConfig(port=broker.port), Load(terminals=20, rate=100, seconds=1))
    assert report.requests == report.results == report.acknowledged == 100
    assert (report.lost, report.connections_lost, report.terminals) == (0, 0, 20)
    assert 0 < report.p50_ms <= report.p95_ms <= report.p99_ms <= report.longest_ms


async def test_a_broker_that_dies_shows_as_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "LOST_AFTER_S", 1.0)
    broker = Mosquitto(tmp_path).start()
    running = asyncio.create_task(run(MqttConfig(port=broker.port), Load(5, rate=50, seconds=3)))
    await asyncio.sleep(1.5)
    broker.kill()
    report = await asyncio.wait_for(running, 60)
    assert report.lost > 0 and report.results > 0 and report.requests == 150
    assert report.connections_lost == 5 + load.TILLS


async def test_no_broker_raises_one_error() -> None:
    with pytest.raises(TillError, match=r"no MQTT broker answers at .*: connection refused"):
        await run(MqttConfig(port=free_port()), Load(1, 1, 1))


async def test_a_broker_that_never_answers_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UP_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TillError) as caught:
        await run(MqttConfig(port=silent.getsockname()[1]), Load(1, 1, 1))
    assert caught.value.code == "mqtt_unreachable" and caught.value.fix and zh(caught.value.fix)


async def test_a_terminal_whose_subscription_is_refused_disconnects() -> None:
    """Without DISCONNECT the broker publishes its will, and a till sees a terminal that failed."""
    script = Script(suback_reason=NOT_AUTHORISED)
    async with scripted(script) as port:
        fleet = connections.LoadConnections(MqttConfig(port=port))
        with pytest.raises(TillError) as caught:
            await fleet.join("terminal", ["a/b"], lambda _: None)
        assert caught.value.code == "mqtt_subscription_refused"
        async with asyncio.timeout(30):
            while not script.disconnects:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.01)
        await fleet.close()


async def test_a_terminal_whose_connecting_is_cancelled_disconnects() -> None:
    script = Script()
    async with scripted(script) as port:
        fleet = connections.LoadConnections(MqttConfig(port=port))
        joining = asyncio.create_task(fleet.join("terminal", ["a/b"], lambda _: None))
        async with asyncio.timeout(30):
            while not script.connections:  # noqa: ASYNC110
                await asyncio.sleep(0)
            joining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await joining
            while not script.disconnects:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await fleet.close()


def test_the_command_prints_the_report(broker: Mosquitto) -> None:
    command = ("till", "load", "--json", "--port", str(broker.port))
    done = facepay(*command, "--terminals", "3", "--rate", "20", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["requests"], report["lost"]) == (20, 0)
