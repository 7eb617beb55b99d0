"""What is wrong with a link is named, and gone again when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.config import MqttConfig
from agent.errors import TillError
from agent.health.conditions import CONDITIONS, Severity
from agent.mqtt import connection as connection_module
from agent.mqtt import sending as mqtt_sending
from agent.mqtt import status
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message, Wiring
from agent.mqtt.reason_codes import BrokerProblem
from tests.brokers import Mosquitto, free_port
from tests.mqtt.proxy import PausingProxy
from tests.mqtt.scripted import NOT_AUTHORISED, scripted_broker
from tests.texts import zh


class Watched:
    """A link, and its troubles as they come and go."""

    def __init__(
        self,
        port: int,
        name: str = "terminal",
        *,
        filters: Sequence[str] = ("a",),
        will: Message | None = None,
        **config: Any,
    ) -> None:
        self.news: asyncio.Queue[tuple[BrokerProblem, bool]] = asyncio.Queue()
        self.up = asyncio.Event()
        self.there: set[BrokerProblem] = set()
        self.details: dict[BrokerProblem, str] = {}
        wanted = [(each, 1) for each in filters]
        wiring = Wiring(name, wanted, lambda _message: None, self.up.set, will, on_trouble=self._told)
        self.link = Connection(MqttConfig(port=port, **config), wiring)

    def _told(self, trouble: BrokerProblem, there: bool, detail: str) -> None:
        self.details[trouble] = detail
        if (trouble in self.there) != there:
            (self.there.add if there else self.there.discard)(trouble)
            self.news.put_nowait((trouble, there))

    async def next(self) -> tuple[BrokerProblem, bool]:
        return await asyncio.wait_for(self.news.get(), 20)


@contextlib.asynccontextmanager
async def started(watched: Watched) -> AsyncIterator[Watched]:
    await watched.link.start()
    try:
        yield watched
    finally:
        await watched.link.stop()


def test_every_trouble_is_a_condition_that_somebody_must_mend() -> None:
    for trouble in BrokerProblem:
        assert CONDITIONS[trouble].severity is Severity.ERROR and zh(CONDITIONS[trouble].fix)


async def test_another_client_with_our_id_is_named_and_forgotten_when_it_is_gone(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "ALONE_AFTER_S", 0.3)
    async with started(Watched(broker.port, "the-same-id")) as first:
        await asyncio.wait_for(first.up.wait(), 20)
        async with started(Watched(broker.port, "the-same-id")):
            assert await first.next() == (BrokerProblem.TAKEN_OVER, True)
        assert await first.next() == (BrokerProblem.TAKEN_OVER, False)


async def test_a_broker_that_is_not_there_is_named(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    async with started(Watched(broker.port)) as lonely:
        assert await lonely.next() == (BrokerProblem.UNREACHABLE, True)
        broker.start()
        assert await lonely.next() == (BrokerProblem.UNREACHABLE, False)
    broker.stop()


async def test_a_broker_that_hangs_up_in_place_of_an_answer_is_named() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server, started(Watched(server.sockets[0].getsockname()[1])) as watched:
        assert await watched.next() == (BrokerProblem.UNREACHABLE, True)


async def test_a_broker_that_refuses_us_is_named(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    broker = Mosquitto(tmp_path, f"password_file {passwords}").start()
    async with started(Watched(broker.port, username="nobody")) as stranger:
        assert await stranger.next() == (BrokerProblem.REFUSED, True)
        assert not stranger.link.connected
    broker.stop()


async def test_what_is_wrong_with_the_broker_now_takes_back_what_was_wrong_before(tmp_path: Path) -> None:
    """Refused, then away, then refused, then deaf, then away: nobody reads two contradicting words."""
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    broker = Mosquitto(tmp_path, f"password_file {passwords}").start()

    async def until(watched: Watched, trouble: BrokerProblem) -> None:
        while watched.there != {trouble}:
            await watched.next()

    async with started(Watched(broker.port, username="nobody")) as stranger:
        await until(stranger, BrokerProblem.REFUSED)
        broker.stop()
        await until(stranger, BrokerProblem.UNREACHABLE)
        broker.start()
        await until(stranger, BrokerProblem.REFUSED)
        broker.stop()
        async with scripted_broker(NOT_AUTHORISED, broker.port):
            await until(stranger, BrokerProblem.DEAF)
        await until(stranger, BrokerProblem.UNREACHABLE)


async def test_a_name_server_that_never_answers_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()

    def resolve(*_where: object, **_how: object) -> list[Any]:
        silent.wait(30)
        raise socket.gaierror("gave up at last")

    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    patient = Watched(free_port(), host="broker.example")
    async with started(patient):
        assert await patient.next() == (BrokerProblem.UNREACHABLE, True)
        async with asyncio.timeout(5):
            await patient.link.stop()
    silent.set()


async def test_a_broker_that_takes_the_connection_and_says_nothing_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Named long before its keepalive would tell, tried again, and there when it is itself again."""
    monkeypatch.setattr(connection_module, "CONNACK_TIMEOUT_S", 0.2)
    taken = list[asyncio.StreamWriter]()
    over = asyncio.Event()

    async def swallow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        if len(taken) > 2:
            over.set()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with started(Watched(server.sockets[0].getsockname()[1], keepalive_s=120)) as patient:
        assert await patient.next() == (BrokerProblem.UNREACHABLE, True)
        await asyncio.wait_for(over.wait(), 20)
        assert not patient.link.connected
        server.close()
    for writer in taken:
        writer.transport.abort()


async def test_a_terminal_that_may_not_hear_requests_says_so() -> None:
    async with scripted_broker(NOT_AUTHORISED) as port, started(Watched(port)) as deaf:
        assert await deaf.next() == (BrokerProblem.DEAF, True)
        await asyncio.wait_for(deaf.up.wait(), 5)  # its state can still be published, with the condition


async def test_up_means_that_the_subscriptions_stand(broker: Mosquitto) -> None:
    """A till that asks as soon as it reads ``state`` must be heard."""
    for number in range(20):
        heard: asyncio.Queue[Message] = asyncio.Queue()
        up = asyncio.Event()
        ear = Connection(
            MqttConfig(port=broker.port), Wiring(f"ear-{number}", [("b", 1)], heard.put_nowait, up.set)
        )
        async with started(Watched(broker.port, "mouth")) as mouth:
            await asyncio.wait_for(mouth.up.wait(), 20)
            await ear.start()
            await asyncio.wait_for(up.wait(), 20)
            assert await mouth.link.publish(Message("b", b"x")), "nobody was subscribed"
            await asyncio.wait_for(heard.get(), 20)
            await ear.stop()


async def test_a_key_file_that_is_just_being_replaced_is_waited_for(tmp_path: Path) -> None:
    """Rotating certificates: for a moment the file is not there, and the connection is lost just then."""
    password = tmp_path / "password"
    password.write_text("secret")
    broker = Mosquitto(tmp_path).start()
    async with started(Watched(broker.port, username="terminal", password_file=password)) as patient:
        await asyncio.wait_for(patient.up.wait(), 20)
        patient.up.clear()
        password.unlink()
        broker.kill()
        assert await patient.next() == (BrokerProblem.UNREACHABLE, True)
        broker.start()
        await asyncio.sleep(0.5)
        assert not patient.link.connected
        password.write_text("secret")
        await asyncio.wait_for(patient.up.wait(), 30)
    broker.stop()


async def test_what_a_silent_broker_owes_is_bounded_and_never_leaves_late(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its window paho would keep a message and send it whenever the broker comes to itself."""
    monkeypatch.setattr(mqtt_sending, "IN_FLIGHT_MAX", 3)
    monkeypatch.setattr(mqtt_sending, "PUBACK_TIMEOUT_S", 0.5)
    proxy = await PausingProxy.start(broker.port)
    async with started(Watched(proxy.port, "mouth")) as mouth:
        await asyncio.wait_for(mouth.up.wait(), 20)
        mouth.up.clear()
        proxy.pause()
        sending = [asyncio.create_task(mouth.link.publish(Message("a", b"x"))) for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(TillError, match="owes"):
            await mouth.link.publish(Message("a", b"one too many"))
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        assert {type(each) for each in outcomes} == {TillError}
        proxy.resume()
        await asyncio.wait_for(mouth.up.wait(), 20)  # the silent connection was dropped and made anew
        assert await mouth.link.publish(Message("a", b"fresh"))
    await proxy.stop()
