"""A supervised process with a wrong config pauses, and ends at once when the file was corrected."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.root.config_wait import until_changed

PATIENCE_S = 60


@pytest.mark.parametrize("there", [True, False])
def test_the_pause_ends_when_the_file_changes(tmp_path: Path, there: bool) -> None:
    path, ended = tmp_path / "agent.toml", list[bool]()
    if there:
        path.write_text("wrong")
    stop = threading.Event()
    waiting = threading.Thread(target=lambda: ended.append(until_changed(path, stop, 3_600.0, "why")))
    waiting.start()
    threading.Event().wait(0.2)
    assert waiting.is_alive()
    path.write_text("corrected")
    waiting.join(PATIENCE_S)
    assert ended == [True]


def test_the_pause_ends_on_a_signal(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert not until_changed(tmp_path / "nothing", stop, 3_600.0, "why")


def run(path: Path, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "agent.cli", "run", "--config", str(path)]
    return subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE)


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text("[mqtt]\nhots = 'x'\n")
    return path


def test_under_systemd_run_says_why_and_waits(wrong: Path, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(address))
        supervisor.settimeout(PATIENCE_S)
        process = run(wrong, NOTIFY_SOCKET=str(address))
        status = supervisor.recv(4_096).decode()
        assert status.startswith("STATUS=config refused") and f"{wrong}:2: mqtt.hots" in status
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, output = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 78 and b"mqtt.hots: unknown key" in output


def test_at_a_prompt_run_ends_at_once(wrong: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    command = [sys.executable, "-m", "agent.cli", "run", "--config", str(wrong)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 78 and done.stderr.count(b"mqtt.hots") == 1
