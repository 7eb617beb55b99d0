"""What a remote diagnosis examines and says. Part of the root; loaded in the doctor's own thread.

It opens neither camera nor broker, asks nothing of the API that needs a signature, runs no command that
somebody sent, and says no value of the config: each is replaced by its key before the report is signed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.config import Config
from agent.diagnostics.check import Check, CheckReport, Verdict
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.doctor import exit_code, run_checks, select
from agent.diagnostics.hide_config import Hider
from agent.diagnostics.world import World
from agent.errors import AgentError
from agent.root.doctor import make_world

# api.auth signs a question; mqtt.roundtrip and camera.focus open what is the running agent's
NOT_REMOTE = ("api.auth", "mqtt.roundtrip", "camera.focus")


def examined(
    only: tuple[str, ...], config: Config, path: Path | None, status: dict[str, Any]
) -> dict[str, Any]:
    """The document of ``facepay doctor --json``, its words without values of the config. Blocks for seconds.

    Args:
        only: ids of checks; empty for all that may be asked from afar.
        path: where ``config`` was read from; the file as it is now is examined.
        status: what the agent says of itself at this moment.
    Raises:
        AgentError: ``check_unknown``.
    """
    reports = list(run_checks(remote_checks(only), _world(config, path, status)))
    shown = [each for each in reports if not only or each.check.id in only or _failed(each)]
    hide = Hider(config, path)
    rows = [hide.row(report.facts()) for report in shown]
    return {"schema": "facepay.doctor/1", "exit": exit_code(shown), "checks": rows}


def _world(config: Config, path: Path | None, status: dict[str, Any]) -> World:
    changes: dict[str, Any] = {"status": lambda: status}
    changes |= dict.fromkeys(("camera", "ask_api", "broker"), _never)
    if path is None:
        changes["config"] = lambda: config
    return replace(make_world(path or Path(os.devnull)), **changes)


def remote_checks(only: tuple[str, ...]) -> list[Check]:
    """What may be asked from afar, with all it needs. Raises ``AgentError`` (``check_unknown``)."""
    offered = [check for check in CHECKS if check.id not in NOT_REMOTE]
    return select(offered, only)


def _failed(report: CheckReport) -> bool:
    return report.finding.verdict is Verdict.FAIL


def _never() -> Any:
    raise AgentError("not from afar", code="not_remote")
