"""The target of `facepay config apply`: the doctor's checks before, the running agent's status after."""

from pathlib import Path

from agent.config import Config
from agent.config.file import load
from agent.control.server import path_for, peer_pid, request_status
from agent.control.status import config_fingerprint
from agent.diagnostics.check import Verdict
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.doctor import run_checks, select
from agent.fleet.rollout_monitor import RolloutMonitor, RunningAgent
from agent.root.doctor import inputs_from_file
from agent.root.runnable_config import load_runnable_config
from agent.texts import Text

CHECKS_BEFORE = ("config.lint", "keys.files", "keys.permissions")


class LocalRolloutTarget(RolloutMonitor):
    """Implements ``fleet.rollout.RolloutTarget``."""

    def rejection(self, config: Path) -> Text | None:
        load_runnable_config(config, with_parts=True)
        for report in run_checks(select(CHECKS, CHECKS_BEFORE), inputs_from_file(config)):
            if report.finding.verdict is Verdict.FAIL:
                return Text("detail.at", place=report.check.id, reason=report.finding.reason)
        return None


def make_rollout_target(config: Path, within_s: float) -> LocalRolloutTarget:
    """The target with the config in force. Raises ``ConfigError``: that config cannot be read."""
    running = RunningAgent(
        lambda used: request_status(path_for(used.storage.directory)),
        lambda used: peer_pid(path_for(used.storage.directory)),
        config_fingerprint,
        within_s=within_s,
    )
    return LocalRolloutTarget(load(config, Config), running)
