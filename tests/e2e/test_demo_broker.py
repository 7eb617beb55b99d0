"""The demo's broker where iotcore is not installed, as on a terminal: the system's mosquitto, or an error."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from agent.demo import broker
from agent.errors import AgentError
from tests.texts import en, zh


class FailingBroker:
    """``iotcore.Broker``, which raises these errors from ``start``."""

    def __init__(self, error: Exception) -> None:
        self.error, self.is_stopped = error, False

    def __call__(self, *, config_path: str) -> FailingBroker:
        assert Path(config_path).is_file()
        return self

    def start(self) -> None:
        raise self.error

    def stop(self) -> None:
        self.is_stopped = True


@pytest.mark.parametrize(
    "error",
    [
        OSError("cannot listen on 127.0.0.1:1883: Address already in use (os error 98)"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("broker process exited with code 1 during startup"),
    ],
)
async def test_iotcore_that_does_not_start_is_an_error_with_a_fix(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = FailingBroker(error)
    monkeypatch.setattr(broker, "find_spec", lambda _name: True)
    monkeypatch.setitem(sys.modules, "iotcore", SimpleNamespace(Broker=failing))
    with pytest.raises(AgentError) as raised:
        async with broker.demo_broker(tmp_path):
            pass
    assert raised.value.code == "demo_broker_failed" and failing.is_stopped
    assert str(error.args[-1]).lower() in str(raised.value).lower()
    assert "TMPDIR" in en(raised.value.fix) and "TMPDIR" in zh(raised.value.fix)


async def test_an_error_while_the_broker_runs_stays_that_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="of the demo"):
        async with broker.demo_broker(tmp_path):
            raise OSError("of the demo")


@pytest.fixture(autouse=True)
def without_iotcore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "find_spec", lambda _name: None)


@pytest.mark.mosquitto
async def test_the_systems_mosquitto_serves_mqtt_5_and_ends_with_the_demo(tmp_path: Path) -> None:
    async with broker.demo_broker(tmp_path) as port:
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        connected = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_connect(*_: Any) -> None:
            loop.call_soon_threadsafe(connected.set)

        client.on_connect = on_connect
        client.connect("127.0.0.1", port)
        client.loop_start()
        async with asyncio.timeout(60):
            await connected.wait()
        client.disconnect()
        client.loop_stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_without_any_broker_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.demo.broker.shutil.which", lambda *_, **__: None)
    with pytest.raises(AgentError) as raised:
        async with broker.demo_broker(tmp_path):
            pass
    assert raised.value.code == "demo_broker_missing"
    assert "mosquitto" in en(raised.value.fix) and "mosquitto" in zh(raised.value.fix)


async def test_a_mosquitto_that_ends_at_once_is_an_error_and_no_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.demo.broker.shutil.which", lambda *_, **__: "/bin/false")
    with pytest.raises(AgentError) as raised:
        async with broker.demo_broker(tmp_path):
            pass
    assert raised.value.code == "demo_broker_failed"


def test_a_free_port_is_given_to_no_other_program_until_it_is_bound_by_name() -> None:
    port = broker.free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.socket() as named:  # as mosquitto and iotcore
        named.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        named.bind(("127.0.0.1", port))
        named.listen()
