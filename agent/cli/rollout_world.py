"""The terminal of `facepay config apply`: the doctor's checks before, the running agent's status after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.config import Config
from agent.config.file import load
from agent.control import server as status_socket
from agent.control.status import fingerprint
from agent.diagnostics.check import Verdict
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.doctor import run_checks, select
from agent.fleet.running import RolloutMonitor, RunningAgent
from agent.root.doctor import make_world
from agent.root.judge import judged

BEFORE = ("config.lint", "keys.files", "keys.permissions")


class ThisTerminal(RolloutMonitor):
    """Implements ``fleet.rollout.Terminal``."""

    def objection(self, config: Path) -> str:
        judged(config, complete=True)
        for report in run_checks(select(CHECKS, BEFORE), make_world(config)):
            if report.finding.verdict is Verdict.FAIL:
                return f"{report.check.id}: {report.finding.why}"
        return ""


def make_terminal(config: Path, within_s: float) -> ThisTerminal:
    """The terminal with the config in force. Raises ``ConfigError``."""
    return ThisTerminal(load(config, Config), RunningAgent(_status, _pid, fingerprint, within_s=within_s))


def _status(config: Config) -> Mapping[str, Any]:
    return status_socket.request_status(status_socket.path_for(config.storage.directory))


def _pid(config: Config) -> int:
    return status_socket.peer_pid(status_socket.path_for(config.storage.directory))
