"""A supervised process with an invalid config pauses and ends when the file is corrected."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.root.config_wait import wait_for_change
from tests.waits import WatchedStop

TIMEOUT_S = 60


@pytest.mark.parametrize("exists", [True, False])
def test_until_changed_returns_true_when_the_file_changes(tmp_path: Path, exists: bool) -> None:
    path, ended = tmp_path / "agent.toml", list[bool]()
    if exists:
        path.write_text("wrong")
    stop = WatchedStop()
    waiting = threading.Thread(target=lambda: ended.append(wait_for_change(path, stop, 3_600.0, "why")))
    waiting.start()
    assert stop.waited_for.wait(TIMEOUT_S) and waiting.is_alive()
    path.write_text("corrected")
    waiting.join(TIMEOUT_S)
    assert ended == [True]


def test_until_changed_returns_false_after_stop(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert not wait_for_change(tmp_path / "nothing", stop, 3_600.0, "why")


def test_pause_for_a_folder_that_everyone_can_write_ends_with_its_correction(tmp_path: Path) -> None:
    path, folder, ended = tmp_path / "agent.toml", tmp_path / "agent.d", list[bool]()
    path.write_text("")
    folder.mkdir()
    folder.chmod(0o777)
    stop = WatchedStop()
    waiting = threading.Thread(target=lambda: ended.append(wait_for_change(path, stop, 3_600.0, "why")))
    waiting.start()
    assert stop.waited_for.wait(TIMEOUT_S) and waiting.is_alive()
    folder.chmod(0o755)
    waiting.join(TIMEOUT_S)
    assert ended == [True]


def run(path: Path, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "agent.cli", "run", "--config", str(path)]
    return subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE)


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text("[mqtt]\nhots = 'x'\n")
    return path


def test_run_under_systemd_with_invalid_config_reports_it_and_waits(wrong: Path, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(address))
        supervisor.settimeout(TIMEOUT_S)
        process = run(wrong, NOTIFY_SOCKET=str(address))
        status = supervisor.recv(4_096).decode()
        assert status.startswith("STATUS=config refused") and f"{wrong}:2: mqtt.hots" in status
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, output = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 78 and b"mqtt.hots: unknown key" in output


def test_run_without_systemd_with_invalid_config_ends_at_once(wrong: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    command = [sys.executable, "-m", "agent.cli", "run", "--config", str(wrong)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, timeout=TIMEOUT_S)
    assert done.returncode == 78 and done.stderr.count(b"mqtt.hots: unknown key") == 1
