"""The runner of the checks: parallel, time-outs, consequences separate from causes."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from agent.diagnostics.check import Check, Finding, Verdict, failed, passed, skipped, warning
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.doctor import exit_code, run_checks, select
from agent.errors import AgentError, StorageError
from agent.root.doctor import inputs_from_file
from agent.texts import Text
from tests.texts import en, zh

DO = Text("fix.storage_unavailable")
INPUTS = inputs_from_file(Path("not-read.toml"))


def check(name: str, finding: Finding | None = None, *needs: str, timeout_s: float = 60) -> Check:
    return Check(name, lambda _: finding or passed("fine"), needs, timeout_s=timeout_s)


def verdicts(*checks: Check) -> dict[str, str]:
    return {report.check.id: report.finding.verdict.value for report in run_checks(checks, INPUTS)}


def test_a_consequence_is_skipped_and_names_the_first_cause() -> None:
    chain = check("a", failed("broken", DO)), check("b", None, "a"), check("c", None, "b"), check("d")
    reports = {report.check.id: report.finding for report in run_checks(chain, INPUTS)}
    assert reports["b"].because == reports["c"].because == "a"
    assert reports["c"].why == "because a failed" and reports["d"].verdict is Verdict.PASS


@pytest.mark.parametrize(
    "finding", [warning("hm", DO), skipped("not here")], ids=["warning", "not applicable"]
)
def test_run_checks_after_warning_or_skip_runs_dependent_check(finding: Finding) -> None:
    assert verdicts(check("a", finding), check("b", None, "a"))["b"] == "pass"


def test_run_checks_starts_a_check_after_its_dependency_in_any_order() -> None:
    assert verdicts(check("late", None, "first"), check("first", failed("x", DO))) == {
        "late": "skip",
        "first": "fail",
    }


def test_run_checks_runs_independent_checks_in_parallel() -> None:
    met = threading.Barrier(3, timeout=60)  # passes only when three threads wait at the same time

    def meet(_: CheckInputs) -> Finding:
        met.wait()
        return passed("met")

    assert set(verdicts(*(Check(name, meet, timeout_s=60) for name in "abc")).values()) == {"pass"}


def test_run_checks_abandons_a_silent_check_and_runs_the_others() -> None:
    for_ever = threading.Event()

    def hang(_: CheckInputs) -> Finding:
        for_ever.wait()
        return passed("too late")

    silent = Check("a", hang, timeout_s=0.1)
    reports = list(run_checks([silent, check("b"), check("c", None, "a")], INPUTS))
    for_ever.set()
    assert [report.finding.verdict.value for report in reports] == ["fail", "pass", "skip"]
    assert reports[0].finding.why == "no answer within 0.1 s"
    assert reports[0].finding.remedy == Text("fix.check_timed_out")


def test_run_checks_agent_error_keeps_its_code_and_fix() -> None:
    def raises(_: CheckInputs) -> Finding:
        raise StorageError("disk gone", fix=DO)

    (report,) = run_checks([Check("a", raises)], INPUTS)
    assert report.finding.why == "storage_unavailable: disk gone"
    assert report.finding.remedy == DO


def test_a_bug_in_a_check_is_a_failure_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def raises(_: CheckInputs) -> Finding:
        raise ZeroDivisionError

    assert verdicts(Check("a", raises), check("b")) == {"a": "fail", "b": "pass"}
    assert "bug_in_check" in caplog.text and "ZeroDivisionError" in caplog.text


def test_exit_code_is_that_of_the_worst_verdict() -> None:
    findings = (passed("x"), skipped("x"), warning("x", DO), failed("x", DO))
    reports = [next(run_checks([check("a", finding)], INPUTS)) for finding in findings]
    assert [exit_code(reports[: count + 1]) for count in range(4)] == [0, 0, 1, 2]


def test_select_adds_dependencies() -> None:
    assert [each.id for each in select(CHECKS, ["net.tcp"])] == ["config.lint", "net.dns", "net.tcp"]
    assert select(CHECKS, []) == list(CHECKS)
    with pytest.raises(AgentError) as unknown:
        select(CHECKS, ["net.tpc"])
    assert unknown.value.code == "check_unknown" and "net.tcp" in en(unknown.value.fix)


def test_table_has_unique_ids_texts_and_ordered_dependencies() -> None:
    ids = [each.id for each in CHECKS]
    assert len(set(ids)) == len(ids)
    for place, each in enumerate(CHECKS):
        assert en(each.title) and zh(each.title)
        assert set(each.depends_on) <= set(ids[:place]), "a dependency comes before its check"


def test_busy_board_is_no_fault_of_what_only_loads_modules_and_reads_files() -> None:
    """At a load of 20, ``config.lint`` needed more than 10 s; checks that depend on it were skipped."""
    limits_s = {check.id: check.timeout_s for check in CHECKS}
    assert min(limits_s[name] for name in ("config.lint", "model.integrity", "camera.speed")) >= 60


def test_a_broken_config_is_one_failure(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[mqtt]\nhots = 'x'\n")
    inputs = replace(inputs_from_file(path), root=tmp_path, is_synchronised=lambda: True)
    reports = {report.check.id: report.finding for report in run_checks(CHECKS, inputs)}
    assert [name for name, each in reports.items() if each.verdict is Verdict.FAIL] == ["config.lint"]
    assert f"{path}:2: mqtt.hots" in reports["config.lint"].why
    assert reports["api.auth"].because == reports["mqtt.roundtrip"].because == "config.lint"
