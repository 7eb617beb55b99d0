"""Under systemd, a process with a config that cannot run waits before it ends. Part of the root.

``Restart=always`` starts it again two seconds later, and a start costs a Pi a second of a core. A limit on
starts, or ``RestartPreventExitStatus=78``, would leave a shop without a terminal after a cause that passes,
such as a partition that is mounted late. ``RestartSteps`` is not in Debian 12's systemd. So the pause is
here: it ends as soon as the file changes, and is shorter than ``TimeoutStartSec``.
"""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from types import FrameType

from agent.errors import ConfigError
from agent.health.notify import is_supervised, notify
from agent.log import facts

log = logging.getLogger(__name__)

PAUSE_S = 30.0
_CHECK_S = 1.0


def pause(error: ConfigError, path: Path) -> None:
    """Under a supervisor: log the error, wait for ``PAUSE_S``, a change of the file, or a signal to end."""
    if not is_supervised():
        return
    log.error("config_refused", extra=facts(code=error.code, why=error, fix=error.fix))
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        until_changed(path, stop, PAUSE_S, f"{error.code}: {error}")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def until_changed(path: Path, stop: threading.Event, pause_s: float, status: str) -> bool:
    """Whether the file changed, or is there again, within ``pause_s``. ``stop`` ends the wait."""
    first = _state(path)
    notify(f"STATUS=config refused, waiting for a correction: {status}".replace("\n", " "))
    for _ in range(round(pause_s / _CHECK_S)):
        if stop.wait(_CHECK_S):
            return False
        if _state(path) != first:
            return True
    return False


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
