"""Pause of a process under systemd before it ends with an unusable config. Part of the root.

The pause ends when a file of the config changes. It is shorter than ``TimeoutStartSec``.

Why the process pauses: ``Restart=always`` starts it again after two seconds, and a start costs a second of a
core on a Pi. A start limit or ``RestartPreventExitStatus=78`` would leave a shop without a terminal after a
temporary cause, such as a partition that is mounted late. systemd of Debian 12 has no ``RestartSteps``.
"""

import logging
import signal
import threading
from contextlib import suppress
from pathlib import Path

from agent.errors import ConfigError
from agent.health.notify import is_supervised, notify
from agent.log import facts
from agent.toml_layers import layers

log = logging.getLogger(__name__)

PAUSE_S = 30.0
_CHECK_S = 1.0


def pause_before_exit(error: ConfigError, path: Path) -> None:
    """Under a supervisor: log the error, wait for ``PAUSE_S``, a change of the file, or a signal to end."""
    if not is_supervised():
        return
    log.error("config_refused", extra=facts(code=error.code, why=error, fix=error.fix))
    stop, numbers = threading.Event(), (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    previous_handlers = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        wait_for_change(path, stop, PAUSE_S, f"{error.code}: {error}")
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def wait_for_change(path: Path, stop: threading.Event, pause_s: float, status: str) -> bool:
    """Whether a file of the config changed, appeared or disappeared within ``pause_s``.

    False when ``stop`` is set before.
    """
    initial = _file_states(path)
    notify(f"STATUS=config refused, waiting for a correction: {status}".replace("\n", " "))
    for _ in range(round(pause_s / _CHECK_S)):
        if stop.wait(_CHECK_S):
            return False
        if _file_states(path) != initial:
            return True
    return False


def _file_states(path: Path) -> list[tuple[Path, int, int, int]]:
    """Identity, time and size of each file of the config that exists."""
    try:
        files = layers(path)
    except ConfigError:  # of the folder: its owner or mode is to be corrected
        files = (path, path.with_suffix(".d"))
    states = []
    for file in files:
        with suppress(OSError):
            file_stat = file.stat()
            states.append((file, file_stat.st_ino, file_stat.st_mtime_ns, file_stat.st_size))
    return states
