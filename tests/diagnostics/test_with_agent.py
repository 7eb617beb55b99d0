"""`facepay status` and `facepay doctor` with a running agent, which continues undisturbed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.control.server import path_for, request_status
from agent.errors import TillError
from agent.messages.signing import KEY_FILE, Signer
from agent.service.compare_service import CompareService
from tests import commands
from tests.brokers import Mosquitto
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, PATIENT, Place, running, status_with, till_of, until
from tests.service.kit import running as service_running
from tests.service.kit import slow_machine_config


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    with service_running(slow_machine_config()) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, broker: Mosquitto, service: CompareService) -> Place:
    return Place(tmp_path, broker, service)


def facepay(*arguments: str | Path) -> tuple[int, str, str]:
    done = commands.facepay(*arguments, code=PATIENT)
    return done.returncode, done.stdout, done.stderr


def verdicts(output: str) -> dict[str, tuple[str, str]]:
    rows: list[dict[str, Any]] = json.loads(output)["checks"]
    return {row["id"]: (row["verdict"], row["why"]) for row in rows}


async def test_status_of_a_serving_agent_lists_the_last_result(place: Place) -> None:
    config = place.config("one_obama_podium", stall_ms=60_000)
    (place.folder / "secret").chmod(0o600)
    async with running(config) as agent, till_of(place) as (till, _):
        assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
        code, printed, _ = await asyncio.to_thread(facepay, "status", "--config", config, "--json")
        reported = json.loads(printed)
        assert (code, reported["status"], reported["pid"]) == (0, "online", agent.process.pid)
        assert (reported["last"][0]["decision"], reported["last"][0]["reason"]) == ("match", "same_person")
        assert reported["counters"]["calls"] == 1 and reported["mqtt"]["connected"]
        assert reported["camera"]["frame_age_ms"] >= 0
        await status_with(place, lambda status: status["camera"]["fps"] > 0)  # 0 after a stop of the process
        code, printed, _ = await asyncio.to_thread(facepay, "status", "--config", config)
        assert code == 0 and "shop-1/terminal-1  ONLINE" in printed


async def test_doctor_beside_a_running_agent_does_not_disturb_it(place: Place) -> None:
    config = place.config("one_obama_podium", stall_ms=60_000)
    (place.folder / "secret").chmod(0o600)
    async with running(config), till_of(place) as (till, states):
        await until(states, "online")
        code, printed, errors = await asyncio.to_thread(facepay, "doctor", "--config", config, "--json")
        found = verdicts(printed)
        failed = {name for name, (verdict, _) in found.items() if verdict == "fail"}
        assert failed <= {"privacy.audit"}, "except for files of other programs on this machine"
        assert code in (0, 1, 2) and "Traceback" not in errors, found
        assert found["agent.status"][0] == found["api.auth"][0] == found["outbox.state"][0] == "pass"
        assert found["mqtt.connect"] == ("pass", f"the agent is connected to 127.0.0.1:{place.broker.port}")
        verdict, why = found["mqtt.roundtrip"]
        assert verdict == "skip" and "no request for shop-1/terminal-1 has arrived" in why
        assert found["camera.mounting"][0] == "pass" and "an upright face" in found["camera.mounting"][1]
        assert found["camera.focus"][0] == "pass"
        assert found["camera.detect"] == ("pass", "in use by the agent: replay")
        assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
        _, printed, _ = await asyncio.to_thread(
            facepay, "doctor", "--config", config, "--json", "--only", "mqtt.roundtrip"
        )
        assert "a second connection" in verdicts(printed)["mqtt.roundtrip"][1]
        assert states.empty(), "the status did not change"


async def test_doctor_reports_a_config_changed_since_the_start(place: Place) -> None:
    config = place.config("empty")
    async with running(config):
        config.write_text(config.read_text().replace("[camera]", "consent_required = true\n[camera]"))
        code, printed, _ = await asyncio.to_thread(
            facepay, "doctor", "--config", config, "--only", "agent.status", "--json"
        )
    assert (
        code == 1 and "differs from the config of the running agent" in verdicts(printed)["agent.status"][1]
    )


async def test_doctor_reports_files_changed_since_the_start(place: Place) -> None:
    """Without this check the tills would refuse each result after the next restart, without a warning."""
    config, key = place.config("empty"), place.folder / "state" / KEY_FILE

    async def found() -> tuple[str, str, str]:
        command = ("doctor", "--config", config, "--only", "keys.files", "--json")
        _, printed, _ = await asyncio.to_thread(facepay, *command)
        (row,) = (each for each in json.loads(printed)["checks"] if each["id"] == "keys.files")
        return row["verdict"], row["why"], row["fix"] or ""

    async with running(config):
        used = Signer.load(key)
        status = request_status(path_for(key.parent), timeout_s=60)
        assert status["key_sha256"] == used.fingerprint and list(status["stamps"]) == [
            "compare.secret_key_file"
        ]
        assert (await found())[0] == "pass"
        secret = (place.folder / "secret").read_bytes()
        (place.folder / "secret.new").write_bytes(secret)
        (place.folder / "secret.new").rename(place.folder / "secret")
        verdict, why, _ = await found()
        assert verdict == "warn" and why.startswith("compare.secret_key_file: ") and "changed" in why
        assert facepay("keys", "rotate", "--config", config)[0] == 0
        verdict, why, _ = await found()
        assert verdict == "warn" and "the new key of a rotation" in why
        Signer.generate().save(key)
        verdict, why, fix = await found()
        assert verdict == "fail" and "has another key" in why and used.key_id in fix
        key.write_text("not a key")
        assert (await found())[0] == "fail"
        key.unlink()
        verdict, why, fix = await found()
        assert verdict == "fail" and "does not exist" in why and "Do not restart" in fix
    assert (await found())[0] == "pass", "without a running agent there is no other key to compare with"


async def test_doctor_reports_the_signatures_that_the_agent_refused(place: Place) -> None:
    config = place.config("one_obama_podium")
    (place.folder / "till.pem").write_bytes(Signer.generate().public.pem())
    async with running(config), till_of(place) as (till, _):
        await till.online(60)
        check = ("doctor", "--config", config, "--json", "--only", "keys.tills")
        _, printed, _ = await asyncio.to_thread(facepay, *check)
        assert verdicts(printed)["keys.tills"][0] == "skip", "this config accepts unsigned requests"
        trust = ("keys", "trust", "till-1", place.folder / "till.pem", "--config", config)
        await asyncio.to_thread(facepay, *trust)
        with pytest.raises(TillError, match="not signed"):
            await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)
        await status_with(place, lambda status: status["counters"]["refusals"])  # it may be a second old
        _, printed, _ = await asyncio.to_thread(facepay, *check)
        verdict, why = verdicts(printed)["keys.tills"]
        assert verdict == "warn" and why.endswith(": till-1 (signature_missing)")
        await asyncio.to_thread(facepay, "keys", "distrust", "till-1", "--config", config)
        await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)
        await status_with(place, lambda status: not status["refused_tills"])
        _, printed, _ = await asyncio.to_thread(facepay, *check)
        assert verdicts(printed)["keys.tills"][0] == "skip", "the newest request was accepted"


async def test_a_stopped_process_is_hung_and_a_killed_one_is_not_running(place: Place) -> None:
    config = place.config("empty")
    async with running(config) as agent:
        os.kill(agent.process.pid, signal.SIGSTOP)
        code, _, errors = await asyncio.to_thread(facepay, "status", "--config", config)
        assert code == 4 and errors.startswith("agent_hung: ") and "fix: " in errors and "处理: " in errors
        agent.process.kill()
        await agent.ended(60)
        code, _, errors = await asyncio.to_thread(facepay, "status", "--config", config)
        assert code == 3 and errors.startswith("agent_not_running: ")
    async with running(config) as agent:
        assert request_status(path_for(place.folder / "state"), timeout_s=60)["pid"] == agent.process.pid
        agent.process.send_signal(signal.SIGTERM)
        await agent.ended(60)
    code, _, errors = facepay("status", "--config", config)
    assert code == 3 and errors.startswith("status_socket_missing: ")


async def test_status_watch_follows_start_and_stop_of_the_agent(place: Place) -> None:
    config = place.config("empty")
    command = [sys.executable, "-m", "agent.cli", "status", "--watch", "--json", "--config", str(config)]
    watching = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        # a background job of a shell ignores Ctrl-C, and so do its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert watching.stdout is not None
    try:
        assert json.loads(await watching.stdout.readline()) == {"error": "status_socket_missing"}
        async with running(config), asyncio.timeout(60):
            while "error" in (reported := json.loads(await watching.stdout.readline())):
                pass
        assert reported["schema"] == "facepay.status/1"
    finally:
        watching.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(watching.wait(), 60) == 130


def test_doctor_without_an_agent_ends_with_the_code_of_the_worst(place: Place) -> None:
    config = place.config("empty")
    (place.folder / "secret").chmod(0o600)
    code, printed, _ = facepay("doctor", "--config", config, "--only", "net.tcp,mqtt.roundtrip")
    assert code == 0 and "✓ mqtt.roundtrip" in printed and "2 passed, 0 warned, 0 failed" in printed
    (place.folder / "secret").write_bytes(b"wrong")
    code, printed, _ = facepay("doctor", "--config", config, "--only", "api.auth")
    assert code == 2 and "✗ api.auth" in printed and "fix: " in printed and "处理: " in printed
    code, _, errors = facepay("doctor", "--config", config, "--only", "api.oauth")
    assert code == 2 and errors.startswith("check_unknown: ")
