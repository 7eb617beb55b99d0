"""MQTT over WebSockets, with and without TLS, and ALPN: for networks where only port 443 is open."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.config import MqttConfig
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message, close_abruptly
from agent.mqtt.reason_codes import BrokerProblem
from tests.broker_example.pki import Authority
from tests.brokers import Mosquitto, free_port
from tests.mqtt.scripted import Script, scripted
from tests.mqtt.test_status import UNCLOSED_BY_PAHO, Watched, started

LARGE = b"x" * 100_000  # more than one frame with a length of two bytes


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The config of a terminal for a mosquitto with a WebSocket listener."""
    port, tls = free_port(), bool(request.param)
    lines = [f"listener {port} 127.0.0.1", "protocol websockets"]
    made: dict[str, Any] = {"port": port, "tls": tls, "transport": "websockets"}
    if tls:
        ca = Authority(tmp_path, "ca")
        pair = ca.issue("broker")
        lines += [f"certfile {pair.cert}", f"keyfile {pair.key}"]
        made["ca_file"] = ca.path
    broker = Mosquitto(tmp_path, *lines)
    try:
        broker.start()
    except AssertionError:
        pytest.skip("this mosquitto is built without WebSockets")
    yield made
    broker.stop()


async def test_messages_and_the_will_arrive_over_websockets(settings: dict[str, Any]) -> None:
    received: asyncio.Queue[Message] = asyncio.Queue()
    ready, other_ready = asyncio.Event(), asyncio.Event()
    config = MqttConfig(**settings)
    options = ClientOptions("reader", [("a/#", 1)], received.put_nowait, ready.set)
    reader = Connection(config, options)
    will = Message("a/will", b"offline")
    writer = Connection(config, ClientOptions("writer", [], received.put_nowait, other_ready.set, will))
    await reader.start()
    await writer.start()
    try:
        await asyncio.wait_for(asyncio.gather(ready.wait(), other_ready.wait()), 60)
        for payload in (b"small", LARGE):
            assert await writer.publish(Message("a/b", payload))
            assert (await asyncio.wait_for(received.get(), 60)).payload == payload
        other_ready.clear()
        assert writer._client is not None
        close_abruptly(writer._client)
        assert (await asyncio.wait_for(received.get(), 60)).topic == "a/will"
        await asyncio.wait_for(other_ready.wait(), 60)
        assert await writer.publish(Message("a/b", b"after the reconnect"))
    finally:
        await writer.stop()
        await reader.stop()


# paho leaves the socket of a failed WebSocket handshake to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket")
async def test_a_port_without_websockets_names_the_cause(broker: Mosquitto) -> None:
    async with started(Watched(broker.port, transport="websockets")) as watched:
        assert await watched.next() == (BrokerProblem.UNREACHABLE, True)
        assert "no WebSocket" in watched.details[BrokerProblem.UNREACHABLE]


@UNCLOSED_BY_PAHO
@pytest.mark.parametrize("alpn", ["", "x-amzn-mqtt-ca"])
async def test_the_tls_handshake_offers_the_configured_alpn(tmp_path: Path, alpn: str) -> None:
    ca = Authority(tmp_path, "ca")
    pair = ca.issue("broker")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    context.set_alpn_protocols(["http/1.1", "x-amzn-mqtt-ca"])

    def note(tls: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshakes.append(tls)

    handshakes: list[ssl.SSLObject] = []
    context.sni_callback = note
    async with scripted(Script(), context=context) as port:
        watched = Watched(port, tls=True, ca_file=ca.path, alpn=alpn)
        async with started(watched):
            await asyncio.wait_for(watched.up.wait(), 60)
            selected = [each.selected_alpn_protocol() for each in handshakes]
    assert selected == [alpn or None]


@pytest.mark.parametrize(
    "wrong",
    [{"alpn": "mqtt"}, {"websocket_path": "mqtt"}, {"websocket_path": "/a b"}, {"transport": "unix"}],
    ids=["alpn without TLS", "no slash", "a space", "another transport"],
)
def test_config_refuses_a_wrong_value(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MqttConfig(**wrong)
    assert MqttConfig(tls=True, alpn="mqtt", transport="websockets", websocket_path="/mqtt?a=1")
