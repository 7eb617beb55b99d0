"""The link on a real mosquitto: every trap of the client library, where it hurts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.errors import ConfigError, TillError
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message, Wiring
from tests.brokers import Mosquitto, free_port
from tests.mqtt.proxy import PausingProxy


class Client:
    """A link, what it heard, and how often it came up."""

    def __init__(
        self,
        port: int,
        name: str,
        *filters: str,
        will: Message | None = None,
        keepalive_s: int = 15,
        on_message: Callable[[Message], None] | None = None,
        admits: Callable[[str], bool] = lambda _topic: True,
    ) -> None:
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.ups: asyncio.Queue[None] = asyncio.Queue()
        hear = on_message or self.heard.put_nowait
        subscriptions = [(each, 1) for each in filters]
        wiring = Wiring(name, subscriptions, hear, lambda: self.ups.put_nowait(None), will, admits=admits)
        self.link = Connection(MqttConfig(port=port, keepalive_s=keepalive_s), wiring)

    async def up(self, timeout_s: float = 20.0) -> None:
        await asyncio.wait_for(self.ups.get(), timeout_s)

    async def next(self, timeout_s: float = 20.0) -> Message:
        return await asyncio.wait_for(self.heard.get(), timeout_s)


@asynccontextmanager
async def online(*clients: Client) -> AsyncIterator[None]:
    for client in clients:
        await client.link.start()
    try:
        for client in clients:
            await client.up()
        yield
    finally:
        for client in clients:
            await client.link.stop()


async def down(client: Client, timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while client.link.connected:  # noqa: ASYNC110 - the link has no event for this, nobody needs one
            await asyncio.sleep(0.02)


async def test_a_message_arrives_with_what_belongs_to_it(broker: Mosquitto) -> None:
    ear, mouth = Client(broker.port, "ear", "a/+"), Client(broker.port, "mouth")
    async with online(ear, mouth):
        assert await mouth.link.publish(Message("a/b", b"payload", expires_in_s=60)) is True
        heard = await ear.next()
        assert (heard.topic, heard.payload, heard.retained) == ("a/b", b"payload", False)
        assert heard.expires_in_s is not None and 0 < heard.expires_in_s <= 60


async def test_the_broker_says_when_nobody_listens(broker: Mosquitto) -> None:
    mouth = Client(broker.port, "lonely")
    async with online(mouth):
        assert await mouth.link.publish(Message("nobody/listens", b"x")) is False


async def test_offline_is_an_error_and_nothing_leaks_out_later(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    ear, mouth = Client(broker.port, "ear", "#"), Client(broker.port, "mouth")
    for client in (ear, mouth):
        await client.link.start()
    for number in range(3):
        with pytest.raises(TillError) as caught:
            await mouth.link.publish(Message("a", b"while away %d" % number))
        assert caught.value.code == "link_down"
    broker.start()
    try:
        await ear.up()
        await mouth.up()
        await mouth.link.publish(Message("a", b"now"))
        assert (await ear.next()).payload == b"now", "what failed while offline must not be delivered later"
    finally:
        for client in (ear, mouth):
            await client.link.stop()
        broker.stop()


async def test_after_a_broker_restart_the_subscriptions_are_back(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    ear, mouth = Client(broker.port, "ear", "a"), Client(broker.port, "mouth")
    async with online(ear, mouth):
        broker.kill()
        await down(ear)
        await down(mouth)
        broker.start()
        await ear.up()
        await mouth.up()
        await mouth.link.publish(Message("a", b"again"))
        assert (await ear.next()).payload == b"again"
    broker.stop()


async def test_a_publish_in_flight_when_the_broker_dies_is_an_error_not_a_hang(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    proxy = await PausingProxy.start(broker.port)
    mouth = Client(proxy.port, "mouth")
    async with online(mouth):
        proxy.pause()
        sending = asyncio.create_task(mouth.link.publish(Message("a", b"x")))
        await asyncio.sleep(0.1)
        proxy.cut()
        with pytest.raises(TillError) as caught:
            await asyncio.wait_for(sending, 20)
        assert caught.value.code == "publish_cut"
    await proxy.stop()
    broker.stop()


async def test_a_half_open_connection_is_noticed_and_replaced(broker: Mosquitto) -> None:
    proxy = await PausingProxy.start(broker.port)
    client = Client(proxy.port, "half-open", keepalive_s=5)
    async with online(client):
        proxy.pause()  # TCP stays up, nothing comes through any more
        await down(client)
        proxy.resume()
        await client.up(30)
    await proxy.stop()


async def test_a_refused_publish_is_named_and_harms_nobody(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite allowed/#\n")
    broker = Mosquitto(tmp_path, f"acl_file {acl}").start()
    mouth = Client(broker.port, "mouth", "allowed/#")
    async with online(mouth):
        with pytest.raises(TillError, match="Not authorized") as caught:
            await mouth.link.publish(Message("forbidden", b"x"))
        assert caught.value.code == "publish_refused"
        assert await mouth.link.publish(Message("allowed/a", b"x"))
    broker.stop()


async def test_a_bug_in_a_handler_does_not_silence_the_link(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    def handler(message: Message) -> None:
        if message.payload == b"bang":
            raise ZeroDivisionError("a bug in a handler")
        heard.put_nowait(message.payload)

    loop_errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: loop_errors.append(context["exception"])
    )
    ear, mouth = Client(broker.port, "clumsy", "a", on_message=handler), Client(broker.port, "mouth")
    async with online(ear, mouth):
        await mouth.link.publish(Message("a", b"bang"))
        await mouth.link.publish(Message("a", b"still here"))
        assert await asyncio.wait_for(heard.get(), 10) == b"still here"
    assert [type(error) for error in loop_errors] == [ZeroDivisionError], "reported once, by the loop"


async def test_the_last_will_speaks_for_a_client_that_died(broker: Mosquitto) -> None:
    proxy = await PausingProxy.start(broker.port)
    will = Message("will/state", b"offline", retained=True)
    ear, mortal = Client(broker.port, "mourner", "will/state"), Client(proxy.port, "mortal", will=will)
    async with online(ear, mortal):
        proxy.cut()
        assert (await ear.next()).payload == b"offline"
        await mortal.up()
    await proxy.stop()


async def test_a_clean_goodbye_sends_no_will(broker: Mosquitto) -> None:
    will = Message("polite/state", b"offline")
    ear, polite = Client(broker.port, "ear2", "polite/#"), Client(broker.port, "polite", will=will)
    async with online(ear):
        async with online(polite):
            pass
        await asyncio.sleep(0.2)
        assert ear.heard.empty()


async def test_stopping_is_bounded_when_the_broker_hangs(broker: Mosquitto) -> None:
    proxy = await PausingProxy.start(broker.port)
    client = Client(proxy.port, "patient")
    await client.link.start()
    await client.up()
    proxy.pause()
    async with asyncio.timeout(5):
        await client.link.stop()
    await proxy.stop()


async def test_a_broker_that_is_not_there_is_tried_for_ever_quietly() -> None:
    client = Client(free_port(), "hopeful")
    await client.link.start()
    await asyncio.sleep(0.5)
    assert not client.link.connected
    async with asyncio.timeout(5):
        await client.link.stop()


async def test_wrong_certificate_files_are_known_at_start(tmp_path: Path) -> None:
    config = MqttConfig(tls=True, ca_file=tmp_path / "nothing.pem")
    link = Connection(config, Wiring("x", [], lambda _: None, lambda: None))
    with pytest.raises(ConfigError, match="certificate"):
        await link.start()


async def test_an_exception_before_the_hand_over_costs_one_message(broker: Mosquitto) -> None:
    """Raised to paho, it would end the network thread, and the link would look connected."""
    ear = Client(broker.port, "ear", "a/+", admits=lambda topic: bool(1 // topic.count("good")))
    mouth = Client(broker.port, "mouth")
    async with online(ear, mouth):
        await mouth.link.publish(Message("a/bad", b"1"))
        await mouth.link.publish(Message("a/good", b"2"))
        assert (await ear.next()).payload == b"2"
