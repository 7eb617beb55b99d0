"""One agent per state directory; the kernel releases the lock of a killed agent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agent.control.agent_lock import FILE, AgentRunsAlready, hold_lock, running_pid
from agent.control.server import socket_lost
from agent.errors import StorageError

HOLD = """
import sys, time, pathlib
from agent.control.agent_lock import hold_lock
with hold_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_only_agent_second_agent_is_refused_with_the_process_of_the_first(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "state"):
        with (
            pytest.raises(AgentRunsAlready, match=str(os.getpid())) as refused,
            hold_lock(tmp_path / "state"),
        ):
            pass
        assert refused.value.exit_code == 75 and "storage.directory" in str(refused.value.fix)
        assert running_pid(tmp_path / "state") == str(os.getpid())
    assert running_pid(tmp_path / "state") == ""
    with hold_lock(tmp_path / "state"):
        pass


def test_only_agent_after_kill_9_starts_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert running_pid(tmp_path) == str(holder.pid)
        lost = socket_lost(tmp_path / "status.sock", tmp_path)
        assert lost is not None and (lost.code, lost.exit_code) == ("status_socket_lost", 4)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert socket_lost(tmp_path / "status.sock", tmp_path) is None
        with hold_lock(tmp_path):
            assert running_pid(tmp_path) == str(os.getpid())


def test_only_agent_unusable_lock_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError), hold_lock(tmp_path):
        pass


def test_only_agent_started_by_root_leaves_the_lock_to_the_service() -> None:
    """A lock file of root would stop each later start of the service."""
    if os.geteuid() != 0:
        pytest.skip("only root can become the owner of the directory")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # a folder that the owner can enter
        Path(folder).chmod(0o755)
        directory = Path(folder, "state")
        directory.mkdir()
        os.chown(directory, 12_345, 12_345)
        with hold_lock(directory):
            assert (directory / FILE).stat().st_uid == 12_345
