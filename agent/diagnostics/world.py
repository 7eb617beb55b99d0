"""What the checks may touch of the world. The composition root names the adapters; tests put faults in."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import Config
from agent.errors import AgentAway
from agent.health.probe_results import BrokerProbe, CameraProbe, CertificateProbe, ModelProbe, OutboxProbe

_PROGRAM_TIMEOUT_S = 5.0

Addresses = Sequence[tuple[Any, ...]]  # as socket.getaddrinfo returns them


def run_program(*command: str) -> str | None:
    """What a system tool prints; None when it is not installed, cannot run here, or does not end."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words of ours, no shell
            command,
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROGRAM_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def resolve(host: str, port: int) -> Addresses:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class World:
    """Adapters first; below, the system's own seams. Every function may block or raise ``AgentError``."""

    config: Callable[[], Config]  # loaded and allowed by its profile
    status: Callable[[], Mapping[str, Any]]  # of the running agent; AgentAway when none runs
    model: Callable[[], ModelProbe]
    camera: Callable[[], CameraProbe]  # opens it: only when no agent runs
    ask_api: Callable[[], None]  # a signed question with no picture in it: raises the API's answer
    judge: Callable[[], None]  # raises ``ConfigError`` for what `facepay run` refuses
    broker_trust: Callable[[], ssl.SSLContext]
    broker: Callable[[], BrokerProbe]  # connects as this terminal: only when no agent runs
    outbox: Callable[[], OutboxProbe | None]  # None: there is no file yet
    certificate: Callable[[], CertificateProbe | None]  # this terminal's own; None: it shows the broker none
    config_file: Path | None = None  # where the config was read from
    root: Path = Path("/")  # /sys, /proc, /dev and /run stand here
    unix_ms: Callable[[], int] = _unix_ms
    is_synchronised: Callable[[], bool | None] = lambda: None
    resolve: Callable[[str, int], Addresses] = resolve
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs
    program: Callable[..., str | None] = run_program

    def running(self) -> Mapping[str, Any] | None:
        """The running agent's status; None when none runs. Raises ``StatusError``: it cannot be asked."""
        try:
            return self.status()
        except AgentAway:
            return None
