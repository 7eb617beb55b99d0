"""One agent per state directory; the kernel releases the lock of a killed agent."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from agent.control import server
from agent.control.agent_lock import FILE, AgentPhase, AgentRunsAlready, LockHolder, hold_lock, lock_holder
from agent.control.server import agent_status
from agent.errors import AgentNotRunning, StatusError, StorageError

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
        assert lock_holder(tmp_path / "state") == LockHolder(str(os.getpid()), AgentPhase.STARTING)
    assert lock_holder(tmp_path / "state") is None
    with hold_lock(tmp_path / "state"):
        pass


def test_only_agent_after_kill_9_starts_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert lock_holder(tmp_path) == LockHolder(str(holder.pid), AgentPhase.STARTING)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with pytest.raises(AgentNotRunning):
            agent_status(tmp_path)
        with hold_lock(tmp_path):
            assert lock_holder(tmp_path) == LockHolder(str(os.getpid()), AgentPhase.STARTING)


def test_only_agent_starts_beside_a_request_of_the_status(tmp_path: Path) -> None:
    """``lock_holder`` takes a shared lock for a moment; systemd would count a failed start."""
    with hold_lock(tmp_path):
        pass
    probe = os.open(tmp_path / FILE, os.O_RDONLY)
    fcntl.flock(probe, fcntl.LOCK_SH)
    ends = threading.Timer(0.1, os.close, [probe])
    ends.start()
    try:
        with hold_lock(tmp_path):
            assert lock_holder(tmp_path) == LockHolder(str(os.getpid()), AgentPhase.STARTING)
    finally:
        ends.join()


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        (AgentPhase.STARTING, "agent_starting"),
        (AgentPhase.SERVING, "status_socket_lost"),
        (AgentPhase.STOPPING, "agent_stopping"),
    ],
)
def test_agent_status_without_socket_names_the_phase_of_the_agent(
    tmp_path: Path, phase: AgentPhase, code: str
) -> None:
    with hold_lock(tmp_path) as lock:
        lock.record(phase)
        with pytest.raises(StatusError, match=str(os.getpid())) as found:
            agent_status(tmp_path)
    assert (found.value.code, found.value.exit_code) == (code, 4)
    assert not isinstance(found.value, AgentNotRunning)


def test_a_reader_finds_a_complete_phase_while_the_agent_changes_it(tmp_path: Path) -> None:
    found = set[LockHolder | None]()
    with hold_lock(tmp_path) as lock:
        pid, ended = str(os.getpid()), threading.Event()
        lock.record(AgentPhase.STOPPING)

        def read() -> None:
            while not ended.is_set():
                found.add(lock_holder(tmp_path))

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(2_000):
            lock.record(AgentPhase.STARTING)
            lock.record(AgentPhase.STOPPING)
        ended.set()
        reader.join()
    assert found <= {LockHolder(pid, AgentPhase.STARTING), LockHolder(pid, AgentPhase.STOPPING)}


def test_socket_that_opens_after_the_first_request_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[object] = [AgentNotRunning("no socket", code="agent_not_running"), {"status": "online"}]

    def request(_path: Path) -> object:
        answer = answers.pop(0)
        if isinstance(answer, AgentNotRunning):
            raise answer
        return answer

    monkeypatch.setattr(server, "request_status", request)
    with hold_lock(tmp_path) as lock:
        lock.record(AgentPhase.SERVING)
        assert agent_status(tmp_path) == {"status": "online"}


def test_lock_holder_of_an_unwritten_file_is_not_known(tmp_path: Path) -> None:
    """A full disk: the agent has the lock and could not write the file."""
    with hold_lock(tmp_path):
        os.truncate(tmp_path / FILE, 0)
        assert lock_holder(tmp_path) == LockHolder("?", AgentPhase.SERVING)


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
