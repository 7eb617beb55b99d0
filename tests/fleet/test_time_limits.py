"""The wait for a diagnosis report, compared with the time limits of the checks."""

from __future__ import annotations

import inspect

from agent.diagnostics.check import Check
from agent.diagnostics.checks.table import CHECKS
from agent.fleet.diagnosis_client import DiagnosisClient
from agent.root.remote_doctor import remote_checks
from tests.commands import facepay

BY_ID = {check.id: check for check in CHECKS}


def chain_s(check: Check) -> float:
    """The time limits of a check and of the slowest checks before it."""
    return check.timeout_s + max((chain_s(BY_ID[each]) for each in check.depends_on), default=0.0)


def test_wait_for_a_report_is_longer_than_the_slowest_chain_of_checks() -> None:
    """Otherwise the report that names the hung check arrives too late."""
    wait_s = inspect.signature(DiagnosisClient.request_report).parameters["timeout_s"].default
    assert wait_s > max(map(chain_s, remote_checks(())))
    assert f"default: {wait_s:g}" in " ".join(facepay("diag", "ask", "--help").stdout.split())
