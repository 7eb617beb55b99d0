"""Runs the checks in parallel, each in a thread that may be abandoned; separates consequences from causes.

A check starts when all its dependencies have ended. It is skipped when a dependency failed, or was skipped
because of a failure. So one fault gives one failure.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial

from agent.diagnostics.check import Check, CheckReport, Finding, Verdict, consequence, failed
from agent.diagnostics.check_inputs import CheckInputs
from agent.errors import AgentError, CheckUnknown
from agent.health.conditions import fix_for
from agent.log import facts
from agent.tasks import in_thread
from agent.texts import Text

log = logging.getLogger(__name__)


def select(checks: Sequence[Check], ids: Sequence[str]) -> list[Check]:
    """The named checks and their dependencies, in the table's order; all checks when ``ids`` is empty.

    Args:
        ids: ids of checks (``api.auth``), or of groups (``api``: each check whose id begins with ``api.``).
    Raises:
        CheckUnknown: an id of no check and no group.
    """
    checks_by_id = {check.id: check for check in checks}
    selected, open_ids = set[str](), list(named_ids(checks, ids) or checks_by_id)
    while open_ids:
        name = open_ids.pop()
        if name not in selected:
            selected.add(name)
            open_ids += checks_by_id[name].depends_on
    return [check for check in checks if check.id in selected]


def named_ids(checks: Sequence[Check], ids: Sequence[str]) -> list[str]:
    """``ids`` with each group replaced by its checks. Raises ``CheckUnknown``."""
    matched = list[str]()
    for name in ids:
        matches = [check.id for check in checks if name in (check.id, check.group)]
        if not matches:
            groups = dict.fromkeys(check.group for check in checks)
            fix = Text("fix.choose_one_of", known=", ".join([*groups, *(check.id for check in checks)]))
            raise CheckUnknown(Text("detail.no_check", name=name), fix=fix)
        matched += matches
    return matched


def run_checks(checks: Sequence[Check], inputs: CheckInputs) -> Iterator[CheckReport]:
    """One report per check, in the given order, each as soon as it and the reports before it exist."""
    run = _Run(checks, inputs)
    for check in checks:
        while check.id not in run.reports:
            run.step()
        yield run.reports[check.id]


def exit_code(reports: Sequence[CheckReport]) -> int:
    """0: passed or not applicable, 1: a warning, 2: a failure."""
    verdicts = {report.finding.verdict for report in reports}
    return 2 if Verdict.FAIL in verdicts else 1 if Verdict.WARN in verdicts else 0


class _Run:
    def __init__(self, checks: Sequence[Check], inputs: CheckInputs) -> None:
        self._inputs = inputs
        self._waiting = list(checks)
        self._running: dict[Future[Finding], tuple[Check, float]] = {}  # with the start, monotonic seconds
        self.reports: dict[str, CheckReport] = {}

    def step(self) -> None:
        """Start or skip the checks whose dependencies ended, then wait for one finding or time-out."""
        for check in list(self._waiting):
            self._start_or_skip(check)
        if not self._running:
            return
        due_s = min(started_s + check.timeout_s for check, started_s in self._running.values())
        wait(self._running, max(0.0, due_s - time.monotonic()), FIRST_COMPLETED)
        for future, (check, started_s) in list(self._running.items()):
            spent_s = time.monotonic() - started_s
            if future.done():
                finding = future.result()
            elif spent_s >= check.timeout_s:  # its thread is abandoned
                why = Text("why.timed_out", limit_s=f"{check.timeout_s:g}")
                finding = failed(why, Text("fix.check_timed_out"))
            else:
                continue
            del self._running[future]
            self.reports[check.id] = CheckReport(check, finding, round(spent_s * 1e3))

    def _start_or_skip(self, check: Check) -> None:
        dependencies = [self.reports.get(name) for name in check.depends_on]
        cause = next(filter(None, map(_blocking_check, dependencies)), "")
        if cause:
            self.reports[check.id] = CheckReport(check, consequence(cause), 0)
        elif None not in dependencies:
            future = in_thread(check.id, partial(_run_check, check, self._inputs))
            self._running[future] = check, time.monotonic()
        else:
            return
        self._waiting.remove(check)


def _blocking_check(report: CheckReport | None) -> str:
    """The failed check behind a report that stops dependent checks; empty when they may run."""
    if report is None:
        return ""
    return report.check.id if report.finding.verdict is Verdict.FAIL else report.finding.because


def _run_check(check: Check, inputs: CheckInputs) -> Finding:
    try:
        return check.run(inputs)
    except AgentError as error:
        return failed(error.sentence, fix_for(error))
    except Exception as error:  # a bug in one check must not stop the other checks
        log.exception("bug_in_check", extra=facts(check=check.id))
        return failed(Text("detail.internal", kind=type(error).__name__), Text("fix.defect_send_traceback"))
