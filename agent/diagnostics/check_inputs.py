"""The interface of the checks to the system. The composition root fills it; tests inject faults."""

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
from agent.errors import AgentNotRunning, StatusError
from agent.health import probe_results as probes

_PROGRAM_TIMEOUT_S = 5.0

Addresses = Sequence[tuple[Any, ...]]  # as socket.getaddrinfo returns them


def run_program(*command: str) -> str | None:
    """The stdout of a system tool; None when it is not installed, fails, or does not end in time."""
    try:
        completed = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command, check=True, capture_output=True, text=True, errors="replace", timeout=_PROGRAM_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout


def resolve(host: str, port: int) -> Addresses:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


@dataclass(frozen=True, slots=True)
class CheckInputs:
    """Adapters first, then the interfaces of the system. Each function may block or raise ``AgentError``."""

    config: Callable[[], Config]  # loaded, and allowed by its profile
    status: Callable[[], Mapping[str, Any]]  # of the running agent; AgentNotRunning when none is running
    model: Callable[[], probes.ModelProbe]
    camera: Callable[[], probes.CameraProbe]  # opens the camera: only when no agent is running
    # of the running agent's camera: only when an agent is running
    mounting: Callable[[], probes.MountingReading]
    call_api: Callable[[], None]  # a signed API call without a picture: raises the API's error
    check_runnable: Callable[[], None]  # raises ``ConfigError`` for a config that `facepay run` refuses
    broker_trust: Callable[[], ssl.SSLContext]
    broker: Callable[[], probes.BrokerProbe]  # connects as this terminal: only when no agent is running
    outbox: Callable[[], probes.OutboxProbe | None]  # None: there is no outbox file yet
    # the terminal's client certificate; None: it has none
    certificate: Callable[[], probes.CertificateProbe | None]
    # the number of usable keys of each till with a key; raises PermissionError
    till_keys: Callable[[], Mapping[str, int]]
    # the terminal's key in the state directory; raises PermissionError, TillError
    signing_key: Callable[[], probes.SigningKeyProbe]
    credentials: Callable[[], Mapping[str, Path]] = dict  # name → file from which systemd makes it
    config_file: Path | None = None  # the file of the config
    root: Path = Path("/")  # parent of /sys, /proc, /dev and /run
    unix_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    is_synchronised: Callable[[], bool | None] = lambda: None
    resolve: Callable[[str, int], Addresses] = resolve
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs
    program: Callable[..., str | None] = run_program

    def status_if_running(self) -> Mapping[str, Any] | None:
        """The status of the running agent; None when none is running. Raises ``StatusError``: no answer."""
        try:
            return self.status()
        except AgentNotRunning:
            return None

    def status_if_answering(self) -> Mapping[str, Any] | None:
        """As ``status_if_running``; None also when the agent does not answer: `agent.status` reports it."""
        try:
            return self.status()
        except StatusError:
            return None
