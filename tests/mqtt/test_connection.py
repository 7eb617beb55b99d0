"""``Connection`` with a real mosquitto: each trap of the client library."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.errors import ConfigError, TillError
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from tests.brokers import Mosquitto, free_port
from tests.mqtt.proxy import PausingProxy


class Client:
    """A connection with queues of received messages and of ready events."""

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
        self.received: asyncio.Queue[Message] = asyncio.Queue()
        self.ready: asyncio.Queue[None] = asyncio.Queue()
        handler = on_message or self.received.put_nowait
        subscriptions = [(each, 1) for each in filters]
        options = ClientOptions(
            name, subscriptions, handler, lambda: self.ready.put_nowait(None), will, admits=admits
        )
        self.connection = Connection(MqttConfig(port=port, keepalive_s=keepalive_s), options)

    async def up(self, timeout_s: float = 60) -> None:
        await asyncio.wait_for(self.ready.get(), timeout_s)

    async def next(self, timeout_s: float = 60) -> Message:
        return await asyncio.wait_for(self.received.get(), timeout_s)


@asynccontextmanager
async def online(*clients: Client) -> AsyncIterator[None]:
    for client in clients:
        await client.connection.start()
    try:
        for client in clients:
            await client.up()
        yield
    finally:
        for client in clients:
            await client.connection.stop()


async def down(client: Client, timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while client.connection.is_connected:  # noqa: ASYNC110 - ``Connection`` has no event for this
            await asyncio.sleep(0.02)


async def test_publish_message_arrives_with_all_its_fields(broker: Mosquitto) -> None:
    subscriber, publisher = Client(broker.port, "subscriber", "a/+"), Client(broker.port, "publisher")
    async with online(subscriber, publisher):
        assert await publisher.connection.publish(Message("a/b", b"payload", expires_in_s=60)) is True
        message = await subscriber.next()
        assert (message.topic, message.payload, message.retained) == ("a/b", b"payload", False)
        assert message.expires_in_s is not None and 0 < message.expires_in_s <= 60


async def test_live_message_that_was_published_retained_keeps_its_flag(broker: Mosquitto) -> None:
    """A request must not be retained: an old sale would be repeated at each reconnect."""
    subscriber, publisher = Client(broker.port, "subscriber", "a/+"), Client(broker.port, "publisher")
    async with online(subscriber, publisher):
        await publisher.connection.publish(Message("a/kept", b"payload", retained=True))
        assert (await subscriber.next()).retained is True
        await publisher.connection.publish(Message("a/kept", b"", retained=True))


async def test_publish_without_subscriber_returns_false(broker: Mosquitto) -> None:
    publisher = Client(broker.port, "publisher")
    async with online(publisher):
        assert await publisher.connection.publish(Message("no/subscriber", b"x")) is False


async def test_publish_offline_fails_and_is_not_sent_later(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    subscriber, publisher = Client(broker.port, "subscriber", "#"), Client(broker.port, "publisher")
    for client in (subscriber, publisher):
        await client.connection.start()
    for number in range(3):
        with pytest.raises(TillError) as caught:
            await publisher.connection.publish(Message("a", b"while away %d" % number))
        assert caught.value.code == "link_down"
    broker.start()
    try:
        await subscriber.up()
        await publisher.up()
        await publisher.connection.publish(Message("a", b"now"))
        assert (await subscriber.next()).payload == b"now", "a failed publish must not be delivered later"
    finally:
        for client in (subscriber, publisher):
            await client.connection.stop()
        broker.stop()


async def test_connection_after_broker_restart_subscribes_again(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    subscriber, publisher = Client(broker.port, "subscriber", "a"), Client(broker.port, "publisher")
    async with online(subscriber, publisher):
        broker.kill()
        await down(subscriber)
        await down(publisher)
        broker.start()
        await subscriber.up()
        await publisher.up()
        await publisher.connection.publish(Message("a", b"again"))
        assert (await subscriber.next()).payload == b"again"
    broker.stop()


async def test_publish_cut_before_puback_raises_publish_cut(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    proxy = await PausingProxy.start(broker.port)
    publisher = Client(proxy.port, "publisher")
    async with online(publisher):
        proxy.pause()
        sending = asyncio.create_task(publisher.connection.publish(Message("a", b"x")))
        await asyncio.sleep(0.1)
        proxy.cut()
        with pytest.raises(TillError) as caught:
            await asyncio.wait_for(sending, 60)
        assert caught.value.code == "publish_cut"
    await proxy.stop()
    broker.stop()


async def test_connection_half_open_is_replaced(broker: Mosquitto) -> None:
    proxy = await PausingProxy.start(broker.port)
    client = Client(proxy.port, "half-open", keepalive_s=5)
    async with online(client):
        proxy.pause()  # TCP stays open, no data is forwarded
        await down(client)
        proxy.resume()
        await client.up(30)
    await proxy.stop()


async def test_publish_refused_raises_and_the_next_publish_succeeds(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite allowed/#\n")
    broker = Mosquitto(tmp_path, f"acl_file {acl}").start()
    publisher = Client(broker.port, "publisher", "allowed/#")
    async with online(publisher):
        with pytest.raises(TillError, match="Not authorized") as caught:
            await publisher.connection.publish(Message("forbidden", b"x"))
        assert caught.value.code == "publish_refused"
        assert await publisher.connection.publish(Message("allowed/a", b"x"))
    broker.stop()


async def test_connection_handler_bug_does_not_stop_deliveries(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    payloads: asyncio.Queue[bytes] = asyncio.Queue()

    def handler(message: Message) -> None:
        if message.payload == b"bang":
            raise ZeroDivisionError("a bug in a handler")
        payloads.put_nowait(message.payload)

    loop_errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: loop_errors.append(context["exception"])
    )
    subscriber, publisher = (
        Client(broker.port, "clumsy", "a", on_message=handler),
        Client(broker.port, "publisher"),
    )
    async with online(subscriber, publisher):
        await publisher.connection.publish(Message("a", b"bang"))
        await publisher.connection.publish(Message("a", b"still here"))
        assert await asyncio.wait_for(payloads.get(), 60) == b"still here"
    assert [type(error) for error in loop_errors] == [ZeroDivisionError], "the loop reports the error once"


async def test_connection_cut_publishes_the_will(broker: Mosquitto) -> None:
    proxy = await PausingProxy.start(broker.port)
    will = Message("will/state", b"offline", retained=True)
    subscriber, cut_client = (
        Client(broker.port, "watcher", "will/state"),
        Client(proxy.port, "cut_client", will=will),
    )
    async with online(subscriber, cut_client):
        proxy.cut()
        assert (await subscriber.next()).payload == b"offline"
        await cut_client.up()
    await proxy.stop()


async def test_stop_publishes_no_will(broker: Mosquitto) -> None:
    will = Message("stopped/state", b"offline")
    subscriber, stopped = (
        Client(broker.port, "subscriber2", "stopped/#"),
        Client(broker.port, "stopped", will=will),
    )
    async with online(subscriber):
        async with online(stopped):
            pass
        await asyncio.sleep(0.2)
        assert subscriber.received.empty()


async def test_stop_with_hanging_broker_is_bounded(broker: Mosquitto) -> None:
    proxy = await PausingProxy.start(broker.port)
    client = Client(proxy.port, "client")
    await client.connection.start()
    await client.up()
    proxy.pause()
    async with asyncio.timeout(60):
        await client.connection.stop()
    await proxy.stop()


async def test_connection_without_broker_retries_and_stops() -> None:
    client = Client(free_port(), "client")
    await client.connection.start()
    await asyncio.sleep(0.5)
    assert not client.connection.is_connected
    async with asyncio.timeout(60):
        await client.connection.stop()


async def test_start_unusable_certificate_file_raises(tmp_path: Path) -> None:
    config = MqttConfig(tls=True, ca_file=tmp_path / "nothing.pem")
    connection = Connection(config, ClientOptions("x", [], lambda _: None, lambda: None))
    with pytest.raises(ConfigError, match=r"mqtt\.ca_file.*cannot be read"):
        await connection.start()


async def test_start_pipe_as_password_file_raises_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "password")
    config = MqttConfig(username="terminal", password_file=tmp_path / "password")
    connection = Connection(config, ClientOptions("x", [], lambda _: None, lambda: None))
    with pytest.raises(ConfigError, match=r"mqtt\.password_file"):
        await connection.start()


async def test_on_message_exception_costs_one_message(broker: Mosquitto) -> None:
    """In paho the exception would end the network thread, and the client would appear connected."""
    reader = Client(broker.port, "reader", "a/+", admits=lambda topic: bool(1 // topic.count("good")))
    writer = Client(broker.port, "writer")
    async with online(reader, writer):
        await writer.connection.publish(Message("a/bad", b"1"))
        await writer.connection.publish(Message("a/good", b"2"))
        assert (await reader.next()).payload == b"2"
