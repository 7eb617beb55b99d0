"""The rights of each certificate with the shipped broker example: allowed and refused topics."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.errors import TillError
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.resources import config_file
from tests.broker_example.pki import Authority, Pair
from tests.brokers import free_port

pytestmark = pytest.mark.forged  # rights do not depend on the payload

BASE = "facepay/v1/shop-1"
RESULT = f"{BASE}/terminal-1/verify/till-1/result"
REQUEST = f"{BASE}/terminal-1/verify/till-1/request"
STATE = f"{BASE}/terminal-1/state"


class Shop:
    """mosquitto with the shipped files; only paths, ports and site are replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca, self.tills_ca = Authority(folder, "terminals-ca"), Authority(folder, "tills-ca")
        self.ca.issue("broker", "server")
        self.port, self.tills_port = free_port(), free_port()
        conf = config_file("mosquitto/mosquitto.conf").read_text()
        conf = conf.replace("/etc/mosquitto/facepay", str(folder)).replace("/var/lib/mosquitto", str(folder))
        conf = conf.replace("listener 8883", f"listener {self.port} 127.0.0.1")
        conf = conf.replace("listener 8884", f"listener {self.tills_port} 127.0.0.1")
        (folder / "mosquitto.conf").write_text(conf + "\nuser root\n")
        for name in ("acl", "acl-tills"):
            rights = config_file(f"mosquitto/{name}").read_text().replace("SITE", "shop-1")
            (folder / name).write_text(rights)

    def terminal(self, name: str, label: str = "") -> MqttConfig:
        """A client with a terminal's certificate, on the terminals' listener."""
        return self.config(self.ca.issue(name, label), self.port)

    def till(self, name: str, label: str = "") -> MqttConfig:
        """A client with a certificate of a till or an operator, on the tills' listener."""
        return self.config(self.tills_ca.issue(name, label), self.tills_port)

    def config(self, pair: Pair, port: int) -> MqttConfig:
        return MqttConfig(port=port, tls=True, ca_file=self.ca.path, cert_file=pair.cert, key_file=pair.key)


@contextmanager
def running(shop: Shop) -> Iterator[Shop]:
    """The shop's broker, until the block ends."""
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    assert Path(program).exists(), "no mosquitto: make test installs it (apt-get install mosquitto)"
    with (
        (shop.folder / "broker.log").open("ab") as log,
        subprocess.Popen(
            [program, "-c", str(shop.folder / "mosquitto.conf"), "-v"], stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield shop
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running(Shop(tmp_path_factory.mktemp("shop"))) as shop:
        yield shop


class Client:
    """A connection and all received messages."""

    def __init__(self, config: MqttConfig, filters: list[str], client_id: str = "any-client") -> None:
        self.received: asyncio.Queue[Message] = asyncio.Queue()
        self.up = asyncio.Event()
        options = ClientOptions(client_id, [(f, 1) for f in filters], self.received.put_nowait, self.up.set)
        self.connection = Connection(config, options)

    async def received_until(self, payload: bytes) -> set[str]:
        """The topics of all messages up to the message with this payload."""
        received = set()
        while True:
            message = await asyncio.wait_for(self.received.get(), 60)
            received.add(message.topic)
            if message.payload == payload:
                return received


@asynccontextmanager
async def online(client: Client, timeout_s: float = 60.0) -> AsyncIterator[Client]:
    await client.connection.start()
    try:
        async with asyncio.timeout(timeout_s):
            await client.up.wait()
        yield client
    finally:
        await client.connection.stop()


async def test_terminal_and_till_certificates_allow_a_complete_verification(shop: Shop) -> None:
    own = f"{BASE}/terminal-1/verify"
    terminal = Client(shop.terminal("terminal-1"), [f"{own}/+/request", f"{own}/+/get_state"])
    till = Client(shop.till("till-1"), [RESULT, STATE, f"{own}/till-1/state_copy"])
    async with online(terminal), online(till):
        await asyncio.sleep(0.1)
        assert await till.connection.publish(Message(f"{own}/till-1/get_state", b"{}"))
        assert (await asyncio.wait_for(terminal.received.get(), 60)).payload == b"{}"
        assert await terminal.connection.publish(Message(f"{own}/till-1/state_copy", b"state"))
        assert (await asyncio.wait_for(till.received.get(), 60)).payload == b"state"
        assert await till.connection.publish(Message(REQUEST, b"ask"))
        assert (await asyncio.wait_for(terminal.received.get(), 60)).payload == b"ask"
        assert await terminal.connection.publish(Message(RESULT, b"answer"))
        assert (await asyncio.wait_for(till.received.get(), 60)).payload == b"answer"
        assert await terminal.connection.publish(Message(STATE, b"online", retained=True))


async def test_a_till_certificate_cannot_publish_or_read_the_topics_of_another_till(shop: Shop) -> None:
    filters = [RESULT, REQUEST, f"{BASE}/+/verify/+/result", "#"]
    attacker = Client(shop.till("till-2"), filters)
    terminal = Client(shop.terminal("terminal-1", "terminal-again"), [])
    async with online(attacker), online(terminal):
        for topic in (REQUEST, RESULT, STATE, REQUEST.replace("request", "ack"), f"{BASE}/terminal-1/health"):
            with pytest.raises(TillError) as refused:
                await attacker.connection.publish(Message(topic, b"forged"))
            assert refused.value.code == "publish_refused", topic
        await terminal.connection.publish(Message(RESULT, b"another till's verdict"))
        await terminal.connection.publish(Message(STATE, b"public", retained=True))
        received = await attacker.received_until(b"public")
        assert received == {STATE}, "the verdict was published before the state, so it would be here"


@pytest.mark.parametrize("kind", ["state", "health", "doctor", "verify/till-1/event", "verify/till-1/result"])
async def test_till_certificate_with_a_terminals_name_cannot_act_as_that_terminal(
    shop: Shop, kind: str
) -> None:
    attacker = Client(shop.till("terminal-7", "rogue-till"), [f"{BASE}/terminal-7/verify/+/request"])
    till = Client(shop.till("till-7"), [])
    async with online(attacker), online(till):
        with pytest.raises(TillError) as refused:
            await attacker.connection.publish(
                Message(f"{BASE}/terminal-7/{kind}", b"forged", retained=kind == "state")
            )
        assert refused.value.code == "publish_refused"
        await till.connection.publish(Message(f"{BASE}/terminal-7/verify/till-7/request", b"a photo"))
        await attacker.connection.publish(
            Message(f"{BASE}/terminal-8/verify/terminal-7/request", b"its own topics")
        )
        assert attacker.received.empty(), "a till must not receive another till's request"


@pytest.mark.parametrize("kind", ["request", "cancel", "ack", "get_state"])
async def test_terminal_certificate_cannot_act_as_a_till(shop: Shop, kind: str) -> None:
    attacker = Client(shop.terminal("till-1", "rogue-terminal"), [RESULT, STATE])
    terminal = Client(shop.terminal("terminal-1", "terminal-heard"), [])
    async with online(attacker), online(terminal):
        with pytest.raises(TillError) as refused:
            await attacker.connection.publish(Message(f"{BASE}/terminal-1/verify/till-1/{kind}", b"forged"))
        assert refused.value.code == "publish_refused"
        await terminal.connection.publish(Message(RESULT, b"a till's verdict"))
        await terminal.connection.publish(Message(STATE, b"online", retained=True))
        assert attacker.received.empty()


async def test_each_listener_refuses_the_certificates_of_the_other_listener(shop: Shop) -> None:
    for pair, port in (
        (shop.tills_ca.issue("terminal-1", "till-there"), shop.port),
        (shop.ca.issue("till-1", "terminal-there"), shop.tills_port),
    ):
        with pytest.raises(TimeoutError):
            async with online(Client(shop.config(pair, port), [RESULT]), timeout_s=2.0):
                pass


async def test_a_terminal_can_read_its_own_state(shop: Shop) -> None:
    terminal = Client(shop.terminal("terminal-9"), [f"{BASE}/terminal-9/state"])
    async with online(terminal):
        await terminal.connection.publish(Message(f"{BASE}/terminal-9/state", b"online", retained=True))
        assert (await asyncio.wait_for(terminal.received.get(), 60)).payload == b"online"


async def test_only_an_operator_can_request_a_diagnosis_and_only_the_terminal_can_report(shop: Shop) -> None:
    request_topic, report_topic = f"{BASE}/terminal-1/diag/ops/request", f"{BASE}/terminal-1/diag/ops/report"
    terminal = Client(shop.terminal("terminal-1", "terminal-diag"), [f"{BASE}/terminal-1/diag/+/request"])
    operator, till = (
        Client(shop.till(name), [report_topic, request_topic, STATE]) for name in ("ops", "till-9")
    )
    async with online(terminal), online(operator), online(till):
        await operator.connection.publish(Message(request_topic, b"request"))
        assert (await asyncio.wait_for(terminal.received.get(), 60)).payload == b"request"
        for client in (till, operator):
            with pytest.raises(TillError):
                await client.connection.publish(Message(report_topic, b"forged"))
        with pytest.raises(TillError):
            await till.connection.publish(Message(request_topic, b"forged"))
        await terminal.connection.publish(Message(report_topic, b"report"))
        assert await operator.received_until(b"report") - {STATE} == {report_topic}
        await terminal.connection.publish(Message(STATE, b"for all", retained=True))
        assert await till.received_until(b"for all") == {STATE}, "no report before it"


async def test_a_certificate_of_another_authority_is_refused(shop: Shop) -> None:
    pair = Authority(shop.folder, "other-ca").issue("terminal-1", "stranger")
    client = Client(shop.config(pair, shop.port), [RESULT])
    with pytest.raises(TimeoutError):
        async with online(client, timeout_s=2.0):
            pass


async def test_a_client_without_a_certificate_is_refused(shop: Shop) -> None:
    client = Client(MqttConfig(port=shop.port, tls=True, ca_file=shop.ca.path), [RESULT])
    with pytest.raises(TimeoutError):
        async with online(client, timeout_s=2.0):
            pass


async def test_a_client_cannot_take_over_the_client_id_of_another_certificate(shop: Shop) -> None:
    terminal = Client(shop.terminal("terminal-1", "terminal-third"), [], client_id="terminal-1")
    attacker = Client(shop.till("till-3"), [], client_id="terminal-1")
    async with online(terminal):
        async with online(attacker):
            await asyncio.sleep(0.3)
            assert terminal.connection.is_connected, (
                "a client with the same client id must not disconnect the terminal"
            )
            assert attacker.connection.is_connected
        await terminal.connection.publish(Message(STATE, b"still here", retained=True))


async def test_new_certificates_are_used_without_a_restart_of_the_terminal(tmp_path: Path) -> None:
    """All certificates are renewed: the files change, the broker restarts, the terminal reconnects."""
    shop = Shop(tmp_path)
    pair = shop.ca.issue("terminal-1")
    client = Client(shop.config(pair, shop.port), [f"{BASE}/terminal-1/verify/+/request"])
    with running(shop):
        await client.connection.start()
        await asyncio.wait_for(client.up.wait(), 60)
        client.up.clear()
        before = pair.cert.read_bytes()
        renewed = Authority(tmp_path, "terminals-ca")  # the same file names, other keys
        renewed.issue("broker", "server")
        renewed.issue("terminal-1")
        assert pair.cert.read_bytes() != before
    with running(shop):
        await asyncio.wait_for(client.up.wait(), 60)
        await client.connection.stop()
