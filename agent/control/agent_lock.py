"""The lock of the state directory: one agent per directory.

A second agent would settle the open request of the first one as interrupted, take its connection to the
broker and replace its status socket. The kernel releases the lock with the process, also after ``kill -9``.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agent.errors import AgentError, StorageError, failure_at
from agent.privileges import as_owner
from agent.texts import Text

FILE = "agent.lock"
_CONTENT_BYTES = 40
_TRIES, _PAUSE_S = 20, 0.05  # `facepay status` holds a shared lock for less than a millisecond
_FLAGS = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class AgentRunsAlready(AgentError):
    """Another agent uses the same state directory: this process must not serve."""

    code = "agent_runs_already"
    exit_code = 75  # EX_TEMPFAIL of sysexits.h


class AgentPhase(StrEnum):
    """The phase of the agent: starting, serving or stopping. The status socket exists while it serves."""

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The agent that holds a lock, by the content of the lock file."""

    pid: str  # decimal; ``?``: not known
    phase: AgentPhase


class AgentLock:
    """The held lock."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def record(self, phase: AgentPhase) -> None:
        """Write process id and phase, for messages only. A full disk is no error: the outbox decides."""
        content = f"{os.getpid()} {phase}".ljust(_CONTENT_BYTES)
        with suppress(OSError):
            os.pwrite(self._descriptor, content.encode(), 0)  # one write: a reader never finds a part of it


@contextmanager
def hold_lock(directory: Path) -> Iterator[AgentLock]:
    """Hold the lock of this state directory; create the directory if it is missing.

    Raises ``AgentRunsAlready``; ``StorageError`` when the lock file cannot be used. Blocks for at most one
    second, and only while another process has the lock.
    """
    path = directory / FILE
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with as_owner(directory):  # a file of root would stop each later start of the service
            descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise StorageError(failure_at(path, error)) from error
    try:
        try:
            is_locked = _lock(descriptor)
        except OSError as error:
            raise StorageError(failure_at(path, error)) from error
        if not is_locked:
            pid = _holder(descriptor).pid
            raise AgentRunsAlready(Text("detail.agent_runs_already", directory=directory, pid=pid))
        lock = AgentLock(descriptor)
        lock.record(AgentPhase.STARTING)
        yield lock
    finally:
        os.close(descriptor)


def lock_holder(directory: Path) -> LockHolder | None:
    """The agent that holds the lock; None when no agent runs, and when this user may not open the file."""
    try:
        descriptor = os.open(directory / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _lock(descriptor: int) -> bool:
    """Whether this process has the lock now. Several tries: ``lock_holder`` takes it for a moment."""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _holder(descriptor: int) -> LockHolder:
    """From ``PID PHASE``. The file can be empty: its holder has not written it yet, or the disk is full."""
    content = os.pread(descriptor, _CONTENT_BYTES, 0).decode("ascii", "replace").strip()
    pid, _, phase = content.partition(" ")
    try:
        return LockHolder(pid if pid.isdecimal() else "?", AgentPhase(phase))
    except ValueError:
        return LockHolder(pid if pid.isdecimal() else "?", AgentPhase.SERVING)
