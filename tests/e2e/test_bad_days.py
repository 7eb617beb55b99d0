"""Faults in the field: every command ends in bounded time with a reason and a fix."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests import commands
from tests.e2e.agents import Place, running
from tests.e2e.test_keys import facepay

AGENT_COMMANDS = ["status", "metrics", "camera shot {folder}/look.jpg", "camera focus", "camera light"]
FILE_COMMANDS = ["bundle --output {folder}/support.tar.gz", "privacy-audit --json", "why"]  # need no agent


@pytest.fixture
def open_place(place: Place) -> Iterator[Place]:
    """A place that other users can enter, unlike pytest's own folder."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o711)
        yield Place(Path(name), place.broker, place.service)


MODULES = (
    "agent.root.daemon, agent.root.doctor, agent.cli.camera_view, encodings.idna, agent.control.camera, "
    "agent.diagnostics.checks.table, agent.health.metrics, agent.recorder.last_verification"
)
as_nobody = partial(commands.as_nobody, modules=MODULES)


def doctor(config: Path) -> dict[str, dict[str, str]]:
    done = facepay("doctor", "--config", config, "--json")
    assert "Traceback" not in done.stderr, done.stderr
    return {row["id"]: row for row in json.loads(done.stdout)["checks"]}


async def test_commands_with_a_hung_agent_report_it_with_a_fix(place: Place) -> None:
    config = place.config("empty")
    async with running(config) as agent:
        os.kill(agent.process.pid, signal.SIGSTOP)
        words = [command.format(folder=place.folder).split() for command in AGENT_COMMANDS]
        calls = (asyncio.to_thread(facepay, *each, "--config", config) for each in words)
        for done in await asyncio.gather(*calls):  # each waits for its time-out
            assert done.returncode == 4 and "Traceback" not in done.stderr, done
            reported = done.stderr.splitlines()
            assert reported[0].startswith("agent_hung: "), reported
            assert reported[1].startswith("fix: Restart the agent: systemctl restart")
            assert reported[2].startswith("原因: ") and reported[3].startswith("处理: ")
        for command in FILE_COMMANDS:
            arguments = command.format(folder=place.folder).split()
            done = await asyncio.to_thread(facepay, *arguments, "--config", config)
            assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr, done
        rows = await asyncio.to_thread(doctor, config)
        assert (rows["agent.status"]["verdict"], rows["agent.status"]["because"]) == ("fail", "")
        assert "agent_hung" in rows["agent.status"]["why"]
        assert {name for name, row in rows.items() if row["because"]} == {
            "agent.conditions",
            "display.browser",
            "camera.detect",
            "camera.frame",
            "camera.light",
            "camera.focus",
            "camera.mounting",
            "camera.speed",
            "mqtt.connect",
            "mqtt.roundtrip",
        }, "no check uses its camera or its connection"
        os.kill(agent.process.pid, signal.SIGCONT)
    assert not (place.folder / "look.jpg").exists()


async def test_commands_of_a_user_without_rights_report_it_with_a_fix(open_place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user without rights")
    config = open_place.config("empty")
    config.chmod(0o644)
    async with running(config):
        for command in AGENT_COMMANDS:
            arguments = command.format(folder=open_place.folder).split()
            done = await asyncio.to_thread(as_nobody, *arguments, "--config", str(config))
            assert done.returncode == 4 and "Traceback" not in done.stderr, done
            assert (
                done.stderr.startswith("status_denied: ") and "fix: Run the command with sudo" in done.stderr
            )
        done = await asyncio.to_thread(as_nobody, "why", "--config", str(config))
        assert done.returncode == 1 and "with sudo" in done.stderr and "Traceback" not in done.stderr
        done = await asyncio.to_thread(as_nobody, "privacy-audit", "--config", str(config))
        assert done.returncode in (1, 2) and "Traceback" not in done.stderr, done
        done = await asyncio.to_thread(as_nobody, "doctor", "--config", str(config), "--json")
        rows = {row["id"]: row for row in json.loads(done.stdout)["checks"]}
        assert rows["agent.status"]["why"].startswith("status_denied: ") and "Traceback" not in done.stderr


async def test_status_and_doctor_with_a_silent_broker_report_it(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:
        config = place.config("empty")
        text = config.read_text().replace(f"port = {place.broker.port}", f"port = {hole.getsockname()[1]}")
        config.write_text(text)
        async with running(config):
            async with asyncio.timeout(60):
                while True:  # the condition becomes visible after some time
                    status = await asyncio.to_thread(facepay, "status", "--config", config)
                    if "mqtt_unreachable" in status.stdout:
                        break
                    await asyncio.sleep(0.5)
            assert status.returncode == 2 and "fix: " in status.stdout
            rows = await asyncio.to_thread(doctor, config)
            assert rows["mqtt.connect"]["verdict"] == "fail" and rows["mqtt.connect"]["fix"]
            assert rows["api.auth"]["verdict"] == "pass", "no other check fails"


def test_run_and_doctor_without_an_account_report_the_missing_key(tmp_path: Path) -> None:
    """No secret, no account: run and doctor report the missing key and no other cause."""
    config = tmp_path / "agent.toml"
    config.write_text(f'profile = "demo"\n[storage]\ndirectory = "{tmp_path / "state"}"\n')
    done = facepay("run", "--config", config)
    assert done.returncode == 78 and done.stderr.startswith(
        f"config_invalid: {config}: compare.secret_key_file"
    )
    assert "\nfix: " in done.stderr
    rows = doctor(config)
    assert rows["config.lint"]["verdict"] == "fail" and rows["config.lint"]["fix"]
    assert "compare.secret_key_file: names the file" in rows["config.lint"]["why"]
    assert rows["api.auth"]["verdict"] == "skip", "no key is no wrong key"
