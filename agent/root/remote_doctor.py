"""The report of a remote diagnosis. Part of the root; loaded in the doctor's own thread.

A remote diagnosis opens neither camera nor broker, sends no signed API call, and runs no command from a
request. The report has no value of the config: each is replaced by its key before the report is signed.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.config import Config
from agent.diagnostics.check import Check, Verdict
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.doctor import exit_code, named_ids, run_checks, select
from agent.diagnostics.redact import ConfigRedactor
from agent.errors import AgentError
from agent.root.doctor import inputs_from_file
from agent.texts import Text

# api.auth signs an API call; mqtt.roundtrip opens a connection; the two others analyze a picture
NOT_REMOTE = ("api.auth", "mqtt.roundtrip", "camera.focus", "camera.mounting")


def diagnose(
    only: tuple[str, ...], config: Config, path: Path | None, status: dict[str, Any]
) -> dict[str, Any]:
    """The document of ``facepay doctor --json`` without values of the config. Blocks for seconds.

    Args:
        only: ids of checks or groups; empty for all remote checks.
        path: the file of ``config``; its present content is checked.
        status: the present status document of the agent.
    Raises:
        AgentError: ``check_unknown``.
    """
    replacements: dict[str, Any] = {"status": lambda: status}
    replacements |= dict.fromkeys(("camera", "call_api", "broker"), _refuse)
    if path is None:
        replacements["config"] = lambda: config
    inputs = replace(inputs_from_file(path or Path(os.devnull)), **replacements)
    checks = remote_checks(only)
    wanted = named_ids(checks, only)
    shown = [
        report
        for report in run_checks(checks, inputs)
        if not only or report.check.id in wanted or report.finding.verdict is Verdict.FAIL
    ]
    redactor = ConfigRedactor(config, path)
    rows = [redactor.row(report.facts()) for report in shown]
    return {"schema": "facepay.doctor/1", "exit": exit_code(shown), "checks": rows}


def remote_checks(only: tuple[str, ...]) -> list[Check]:
    """The remote checks of ``only`` with their dependencies. Raises ``AgentError`` (``check_unknown``)."""
    return select([check for check in CHECKS if check.id not in NOT_REMOTE], only)


def _refuse() -> Any:
    raise AgentError(Text("detail.not_remote"), code="not_remote")
