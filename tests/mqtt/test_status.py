"""Each fault of a connection is reported when it begins and when it ends."""

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
from agent.mqtt import publisher as mqtt_publisher
from agent.mqtt import status
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message, connect, make_client
from agent.mqtt.reason_codes import BrokerProblem
from agent.texts import Text
from tests.broker_example.pki import Authority
from tests.brokers import Mosquitto, free_port
from tests.mqtt.proxy import PausingProxy
from tests.mqtt.scripted import NOT_AUTHORISED, Script, scripted, scripted_broker
from tests.texts import zh

# paho leaves the socket of a failed TLS handshake to the garbage collector
UNCLOSED_BY_PAHO = pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")


class Watched:
    """A connection and its reported problems. ``active``: the present ones."""

    def __init__(
        self,
        port: int,
        name: str = "terminal",
        *,
        filters: Sequence[str] = ("a",),
        will: Message | None = None,
        **config: Any,
    ) -> None:
        self.changes: asyncio.Queue[tuple[BrokerProblem, bool]] = asyncio.Queue()
        self.up = asyncio.Event()
        self.active: set[BrokerProblem] = set()
        self.details: dict[BrokerProblem, str] = {}
        subscriptions = [(each, 1) for each in filters]
        options = ClientOptions(
            name, subscriptions, lambda _message: None, self.up.set, will, on_problem=self._on_problem
        )
        self.connection = Connection(MqttConfig(port=port, **config), options)

    def _on_problem(self, problem: BrokerProblem, active: bool, detail: str | Text) -> None:
        self.details[problem] = str(detail)
        if (problem in self.active) != active:
            (self.active.add if active else self.active.discard)(problem)
            self.changes.put_nowait((problem, active))

    async def next(self) -> tuple[BrokerProblem, bool]:
        return await asyncio.wait_for(self.changes.get(), 60)


@contextlib.asynccontextmanager
async def started(watched: Watched) -> AsyncIterator[Watched]:
    await watched.connection.start()
    try:
        yield watched
    finally:
        await watched.connection.stop()


def test_each_broker_problem_is_an_error() -> None:
    for problem in BrokerProblem:
        assert CONDITIONS[problem].severity is Severity.ERROR and zh(CONDITIONS[problem].fix)


async def test_status_second_client_with_the_same_id_is_reported_and_cleared(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "SINGLE_CLIENT_AFTER_S", 0.3)
    async with started(Watched(broker.port, "the-same-id")) as first:
        await asyncio.wait_for(first.up.wait(), 60)
        async with started(Watched(broker.port, "the-same-id")):
            assert await first.next() == (BrokerProblem.TAKEN_OVER, True)
        assert await first.next() == (BrokerProblem.TAKEN_OVER, False)


async def test_status_absent_broker_is_unreachable_until_it_starts(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    async with started(Watched(broker.port)) as watched:
        assert await watched.next() == (BrokerProblem.UNREACHABLE, True)
        broker.start()
        assert await watched.next() == (BrokerProblem.UNREACHABLE, False)
    broker.stop()


async def test_status_connection_closed_before_connack_is_unreachable() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server, started(Watched(server.sockets[0].getsockname()[1])) as watched:
        assert await watched.next() == (BrokerProblem.UNREACHABLE, True)


def tls_files(folder: Path) -> tuple[Authority, tuple[str, ...]]:
    """A CA, and the lines of a broker with a certificate of this CA."""
    authority = Authority(folder, "ca")
    broker = authority.issue("broker")
    return authority, (f"certfile {broker.cert}", f"keyfile {broker.key}")


async def test_status_plain_mqtt_to_a_tls_port_names_the_cause(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, *tls_files(tmp_path)[1]).start()
    async with started(Watched(broker.port)) as watched:
        assert await watched.next() == (BrokerProblem.TLS, True)
        assert "requires TLS, and mqtt.tls is off" in watched.details[BrokerProblem.TLS]
    broker.stop()


@UNCLOSED_BY_PAHO
async def test_status_tls_to_a_plain_port_names_the_cause(tmp_path: Path, broker: Mosquitto) -> None:
    ca_file = tls_files(tmp_path)[0].path
    async with started(Watched(broker.port, tls=True, ca_file=ca_file)) as watched:
        assert await watched.next() == (BrokerProblem.TLS, True)
        assert "TLS handshake failed" in watched.details[BrokerProblem.TLS]


@UNCLOSED_BY_PAHO
async def test_status_untrusted_broker_certificate_names_the_cause(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, *tls_files(tmp_path)[1]).start()
    other = Authority(tmp_path, "other").path
    async with started(Watched(broker.port, tls=True, ca_file=other)) as watched:
        assert await watched.next() == (BrokerProblem.CERTIFICATE, True)
        assert "certificate is refused: " in watched.details[BrokerProblem.CERTIFICATE]
    broker.stop()


async def test_status_refused_login_is_reported(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    broker = Mosquitto(tmp_path, f"password_file {passwords}").start()
    async with started(Watched(broker.port, username="unknown")) as refused:
        assert await refused.next() == (BrokerProblem.REFUSED, True)
        assert not refused.connection.is_connected
    broker.stop()


async def test_status_last_attempt_clears_earlier_problems(tmp_path: Path) -> None:
    """Refused, unreachable, refused, subscription refused, unreachable: one problem at a time."""
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    broker = Mosquitto(tmp_path, f"password_file {passwords}").start()

    async def until(watched: Watched, problem: BrokerProblem) -> None:
        while watched.active != {problem}:
            await watched.next()

    async with started(Watched(broker.port, username="unknown")) as refused:
        await until(refused, BrokerProblem.REFUSED)
        broker.stop()
        await until(refused, BrokerProblem.UNREACHABLE)
        broker.start()
        await until(refused, BrokerProblem.REFUSED)
        broker.stop()
        async with scripted_broker(NOT_AUTHORISED, broker.port):
            await until(refused, BrokerProblem.SUBSCRIPTION_REFUSED)
        await until(refused, BrokerProblem.UNREACHABLE)


async def test_connection_blocked_resolver_leaves_one_thread_and_recovers(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many attempts are made while the resolver blocks; only the first one starts a thread."""
    answers, resolve, calls = threading.Event(), socket.getaddrinfo, list[str]()

    def blocked(host: str, *others: Any, **options: Any) -> list[Any]:
        calls.append(host)
        if not answers.wait(60):
            raise socket.gaierror("no answer")
        return resolve("127.0.0.1", *others, **options)

    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(connection_module, "RETRY_S", (0.01,))
    attempts = list[None]()

    def counted(*arguments: Any) -> Any:
        attempts.append(None)
        return make_client(*arguments)

    monkeypatch.setattr(connection_module, "make_client", counted)
    monkeypatch.setattr(socket, "getaddrinfo", blocked)
    async with started(Watched(broker.port, host="broker.example")) as watched:
        assert await watched.next() == (BrokerProblem.UNREACHABLE, True)
        async with asyncio.timeout(60):
            while len(attempts) < 10:  # noqa: ASYNC110 - an attempt that fails again reports nothing
                await asyncio.sleep(0.01)
        assert calls == ["broker.example"]
        monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT_S", 20.0)
        answers.set()
        await asyncio.wait_for(watched.up.wait(), 60)


async def test_broker_that_answers_after_the_attempt_gets_no_second_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second connection with the same id would end the first one, and lose requests meanwhile."""
    answers, resume, attempts, sleep = threading.Event(), asyncio.Event(), list[None](), asyncio.sleep

    def connect_late(*arguments: Any) -> Any:
        answers.wait(60)
        return connect(*arguments)

    def counted(*arguments: Any) -> Any:
        attempts.append(None)
        return make_client(*arguments)

    async def pause(seconds: float) -> None:
        await (resume.wait() if seconds == 7.0 else sleep(seconds))

    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT_S", 0.05)
    monkeypatch.setattr(connection_module, "RETRY_S", (7.0,))
    monkeypatch.setattr(connection_module, "connect", connect_late)
    monkeypatch.setattr(connection_module, "make_client", counted)
    monkeypatch.setattr(asyncio, "sleep", pause)
    script = Script()
    async with scripted(script) as port, started(Watched(port)) as watched:
        assert await watched.next() == (BrokerProblem.UNREACHABLE, True)
        answers.set()
        await asyncio.wait_for(watched.up.wait(), 60)
        made = len(attempts)
        resume.set()
        for _ in range(20):  # the loop of attempts has continued by then
            await sleep(0)
        assert await watched.connection.publish(Message("a", b"")) is True
        assert (len(attempts), script.connections) == (made, 1)


async def test_stop_while_the_resolver_blocks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()

    def resolve(*_where: object, **_how: object) -> list[Any]:
        silent.wait(60)
        raise socket.gaierror("no answer")

    monkeypatch.setattr(connection_module, "CONNECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with started(Watched(free_port(), host="broker.example")) as watched:
        assert await watched.next() == (BrokerProblem.UNREACHABLE, True)
        async with asyncio.timeout(60):
            await watched.connection.stop()
    silent.set()


async def test_status_broker_without_connack_is_unreachable_and_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The CONNACK limit decides, not the longer keep-alive; the connection is tried again."""
    monkeypatch.setattr(connection_module, "CONNACK_TIMEOUT_S", 0.2)
    accepted = list[asyncio.StreamWriter]()
    third = asyncio.Event()

    async def swallow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        if len(accepted) > 2:
            third.set()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with started(Watched(server.sockets[0].getsockname()[1], keepalive_s=120)) as watched:
        assert await watched.next() == (BrokerProblem.UNREACHABLE, True)
        await asyncio.wait_for(third.wait(), 60)
        why = watched.details[BrokerProblem.UNREACHABLE]
        assert "no broker answers (CONNACK) within 0.2 s" in why, "this side ended the connection"
        assert not watched.connection.is_connected
        server.close()
    for writer in accepted:
        writer.transport.abort()


async def test_status_refused_subscription_is_reported_and_state_can_be_published() -> None:
    async with scripted_broker(NOT_AUTHORISED) as port, started(Watched(port)) as watched:
        assert await watched.next() == (BrokerProblem.SUBSCRIPTION_REFUSED, True)
        await asyncio.wait_for(watched.up.wait(), 60)  # ``state`` with the condition can still be published


async def test_on_ready_is_called_after_the_suback(broker: Mosquitto) -> None:
    """A request that a till sends as soon as it receives ``state`` must arrive."""
    for number in range(20):
        received: asyncio.Queue[Message] = asyncio.Queue()
        up = asyncio.Event()
        subscriber = Connection(
            MqttConfig(port=broker.port),
            ClientOptions(f"subscriber-{number}", [("b", 1)], received.put_nowait, up.set),
        )
        async with started(Watched(broker.port, "publisher")) as publisher:
            await asyncio.wait_for(publisher.up.wait(), 60)
            await subscriber.start()
            await asyncio.wait_for(up.wait(), 60)
            assert await publisher.connection.publish(Message("b", b"x")), "no subscriber"
            await asyncio.wait_for(received.get(), 60)
            await subscriber.stop()


async def test_connection_missing_password_file_is_retried(tmp_path: Path) -> None:
    """During a rotation the file is missing for a moment; the connection can be lost in that moment."""
    password = tmp_path / "password"
    password.write_text("secret")
    broker = Mosquitto(tmp_path).start()
    async with started(Watched(broker.port, username="terminal", password_file=password)) as watched:
        await asyncio.wait_for(watched.up.wait(), 60)
        watched.up.clear()
        password.unlink()
        broker.kill()
        assert await watched.next() == (BrokerProblem.UNREACHABLE, True)
        broker.start()
        await asyncio.sleep(0.5)
        assert not watched.connection.is_connected
        password.write_text("secret")
        await asyncio.wait_for(watched.up.wait(), 60)
    broker.stop()


async def test_publish_to_a_silent_broker_is_bounded_and_not_sent_late(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its window paho keeps a message and sends it when the broker answers again."""
    monkeypatch.setattr(mqtt_publisher, "IN_FLIGHT_MAX", 3)
    monkeypatch.setattr(mqtt_publisher, "PUBACK_TIMEOUT_S", 0.5)
    proxy = await PausingProxy.start(broker.port)
    async with started(Watched(proxy.port, "publisher")) as publisher:
        await asyncio.wait_for(publisher.up.wait(), 60)
        publisher.up.clear()
        proxy.pause()
        sending = [asyncio.create_task(publisher.connection.publish(Message("a", b"x"))) for _ in range(3)]
        await asyncio.sleep(0)  # all are sent; none has ended
        with pytest.raises(TillError, match="wait for a PUBACK"):
            await publisher.connection.publish(Message("a", b"one too many"))
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        assert {type(each) for each in outcomes} == {TillError}
        proxy.resume()
        await asyncio.wait_for(publisher.up.wait(), 60)  # the silent connection was replaced
        assert await publisher.connection.publish(Message("a", b"fresh"))
    await proxy.stop()
