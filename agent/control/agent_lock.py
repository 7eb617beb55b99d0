"""The lock of the state directory: one agent per directory.

A second agent would settle the open request of the first one as interrupted, take its connection to the
broker and replace its status socket. The kernel releases the lock with the process, also after ``kill -9``.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.errors import AgentError, StorageError, failure_at
from agent.privileges import as_owner
from agent.texts import Text

FILE = "agent.lock"
_PID_BYTES = 20
_FLAGS = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class AgentRunsAlready(AgentError):
    """Another agent uses the same state directory: this process must not serve."""

    code = "agent_runs_already"
    exit_code = 75  # EX_TEMPFAIL of sysexits.h


@contextmanager
def hold_lock(directory: Path) -> Iterator[None]:
    """Hold the lock of this state directory; create the directory if it is missing.

    Raises ``AgentRunsAlready``; ``StorageError`` when the lock file cannot be used.
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
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = _pid(descriptor) or "?"
            raise AgentRunsAlready(Text("detail.agent_runs_already", directory=directory, pid=pid)) from error
        except OSError as error:
            raise StorageError(failure_at(path, error)) from error
        _write_pid(descriptor)
        yield
    finally:
        os.close(descriptor)


def running_pid(directory: Path) -> str:
    """The process id of the agent that holds the lock; ``?`` if it is not known; empty when no agent runs.

    Empty, too, when this user may not open the file.
    """
    try:
        descriptor = os.open(directory / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        # an agent that starts in this moment fails, and systemd starts it again
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(descriptor) or "?"
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return ""


def _write_pid(descriptor: int) -> None:
    """For messages only. A full disk does not prevent the start here: the outbox decides."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _pid(descriptor: int) -> str:
    text = os.pread(descriptor, _PID_BYTES, 0).decode("ascii", "replace")
    return text if text.isdecimal() else ""
