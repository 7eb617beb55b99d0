"""The till tools on the broker example: each tool has its own client id and disconnects no terminal."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.core.ports import RefusedEvent
from agent.core.reasons import Refusal
from agent.errors import TillError
from agent.messages.encode import TerminalIdentity, event, state
from agent.messages.signing import Signer
from agent.messages.topics import Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.mqtt.reason_codes import BrokerProblem
from agent.texts import Text
from tests import commands
from tests.broker_example.pki import Pair
from tests.broker_example.test_rights import Shop, running
from tests.contract import golden

TOPICS = Topics("shop-1", "terminal-1")
IDENTITY = TerminalIdentity("shop-1", "terminal-1", boot_id="boot-1", epoch="e-1")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running(Shop(tmp_path_factory.mktemp("shop"))) as shop:
        yield shop


class Terminal:
    """The terminal's connection with its certificate; answers every request with ``busy``."""

    def __init__(self, shop: Shop, pair: Pair) -> None:
        self.ups = 0
        self.problems: set[BrokerProblem] = set()
        self.up = asyncio.Event()
        filters = [(TOPICS.till_filter(kind), 1) for kind in ("request", "ack")]
        wiring = ClientOptions("terminal", filters, self._received, self._up, on_problem=self._note_problem)
        self.link = Connection(shop.config(pair, shop.port), wiring)
        self.topics: list[str] = []
        self._tasks: set[asyncio.Task[bool]] = set()

    def _up(self) -> None:
        self.ups += 1
        self.up.set()

    def _note_problem(self, problem: BrokerProblem, active: bool, _detail: str | Text) -> None:
        self.problems |= {problem} if active else set()

    def _received(self, message: Message) -> None:
        self.topics.append(message.topic)
        if message.topic.endswith("/request"):
            request_id = json.loads(message.payload)["request_id"]
            till, payload = event(RefusedEvent("till-1", request_id, Refusal.BUSY, "for the test"))
            reply = self.link.publish(Message(TOPICS.verify(till, "event"), payload))
            self._tasks.add(asyncio.create_task(reply))


@asynccontextmanager
async def running_terminal(shop: Shop, pair: Pair) -> AsyncIterator[Terminal]:
    terminal = Terminal(shop, pair)
    await terminal.link.start()
    try:
        await asyncio.wait_for(terminal.up.wait(), 60)
        limits = {"request_max_bytes": 98_304, "budget_max_ms": 8_000, "inline_reference": True}
        online = state("online", IDENTITY, {"limits": limits}, Signer.generate())
        await terminal.link.publish(Message(TOPICS.state, online, retained=True))
        yield terminal
    finally:
        await terminal.link.stop()


async def facepay(*arguments: str | Path, code: str = "") -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(commands.facepay, *arguments, code=code)


def terminal_config(shop: Shop, pair: Pair) -> Path:
    """The terminal's config, with the terminal's certificate."""
    path = shop.folder / "agent.toml"
    path.write_text(
        f'site = "shop-1"\nterminal = "terminal-1"\n[mqtt]\nport = {shop.port}\ntls = true\n'
        f'ca_file = "{shop.ca.path}"\ncert_file = "{pair.cert}"\nkey_file = "{pair.key}"\n'
    )
    return path


def till_options(shop: Shop, pair: Pair) -> tuple[str | Path, ...]:
    """Options for a till's certificate and the tills' listener."""
    return ("--port", str(shop.tills_port), "--cert-file", pair.cert, "--key-file", pair.key)


@pytest.mark.parametrize("command", ["till ask", "till watch", "till ack", "diag ask"])
async def test_a_tool_never_disconnects_the_terminal_of_its_config(
    shop: Shop, command: str, tmp_path: Path
) -> None:
    pair, photo, key = shop.ca.issue("terminal-1"), tmp_path / "photo.jpg", tmp_path / "own.pem"
    photo.write_bytes(golden.PHOTO)
    Signer.generate().save(key)
    public = golden.FOLDER / "terminal-key.pem"
    rest: dict[str, tuple[str | Path, ...]] = {
        "till ask": (photo,),
        "till watch": ("--count", "1"),
        "till ack": (golden.RESULT_ID,),
        "diag ask": ("--sign-key", key, "--key", public, "--timeout-s", "1"),
    }
    async with running_terminal(shop, pair) as terminal:
        config = ("--config", terminal_config(shop, pair))
        if command == "till watch":  # runs without end on a broker that does not answer
            printed = await asyncio.to_thread(_run_for_a_while, command, *config)
            assert not printed, "no message without a certificate"
        else:
            done = await facepay(*command.split(), *rest[command], *config, code=commands.SHORT_WAITS)
            assert done.returncode not in (0, 2), done.stdout
        assert (terminal.ups, terminal.problems, terminal.topics) == (1, set(), [])
        assert terminal.link.is_connected


def _run_for_a_while(command: str, *arguments: str | Path) -> str:
    """The output of a command without end during 8 s."""
    line = [sys.executable, "-m", "agent.cli", *command.split(), *map(str, arguments)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            return process.communicate(timeout=8)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[0]


async def test_a_tool_with_a_till_certificate_works(shop: Shop, tmp_path: Path) -> None:
    pair, till, photo = shop.ca.issue("terminal-1"), shop.tills_ca.issue("till-1"), tmp_path / "photo.jpg"
    photo.write_bytes(golden.PHOTO)
    async with running_terminal(shop, pair) as terminal:
        config = ("--config", terminal_config(shop, pair), *till_options(shop, till))
        completed = await facepay("till", "ask", photo, *config)
        assert "\nbusy: " in completed.stderr, completed.stderr
        watched = await facepay("till", "watch", "--count", "1", "--json", *config)
        assert json.loads(watched.stdout)["message"]["epoch"] == "e-1"
        acknowledged = await facepay("till", "ack", golden.RESULT_ID, *config)
        assert acknowledged.returncode == 0, acknowledged.stderr
        async with asyncio.timeout(60):  # the broker has the acknowledgement, the terminal gets it later
            while len(terminal.topics) < 2:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.02)
        assert (terminal.ups, terminal.problems) == (1, set())
        assert [topic.rsplit("/", 1)[1] for topic in terminal.topics] == ["request", "ack"]


@pytest.mark.forged  # rights do not depend on the payload
async def test_monitor_of_the_fleet_reads_every_terminal_and_may_publish_nothing(shop: Shop) -> None:
    pair = shop.tills_ca.issue("fleet")
    async with running_terminal(shop, shop.ca.issue("terminal-1", "monitored")):
        options = ["--port", shop.tills_port, "--ca-file", shop.ca.path]
        options += ["--cert-file", pair.cert, "--key-file", pair.key]
        words = ("fleet", "watch", "--once", "--json", *map(str, options))
        done = await asyncio.to_thread(commands.facepay, *words)
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)["terminals"]
        assert (row["site"], row["terminal"], row["need"]) == ("shop-1", "terminal-1", "nothing")
        up = asyncio.Event()
        link = Connection(
            shop.config(pair, shop.tills_port), ClientOptions("fleet", [], lambda _message: None, up.set)
        )
        await link.start()
        try:
            await asyncio.wait_for(up.wait(), 60)
            for topic in (TOPICS.state, TOPICS.health, TOPICS.verify("fleet", "result"), "other"):
                with pytest.raises(TillError) as refused:
                    await link.publish(Message(topic, b"forged"))
                assert refused.value.code == "publish_refused", topic
        finally:
            await link.stop()
