"""The printed form of the doctor: on 80 × 24 the failure is visible, consequences are one line."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import pytest
from rich.cells import cell_len

from agent import resources
from agent.cli.doctor import show_passed, show_rest
from agent.compare import codes, compareface
from agent.diagnostics.check import (
    Check,
    CheckReport,
    Finding,
    Verdict,
    consequence,
    failed,
    passed,
    skipped,
    warning,
)
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.doctor import named_ids
from agent.diagnostics.order import most_urgent_first, most_urgent_last, urgency
from agent.errors import AgentError, CompareError
from agent.health.conditions import CONDITIONS, fix_for
from agent.resources import documents
from agent.texts import Text, locales, texts_below
from tests.commands import facepay
from tests.texts import zh

COLUMNS, LINES = 80, 24
FIX = Text("fix.check_timed_out")
CASHIER = (
    "card or cash",
    "another way to pay",
    "another payment",
    "刷卡",
    "现金",
    "其他方式付款",
    "其他支付",
)


def rows_of(findings: dict[str, Finding]) -> list[dict[str, object]]:
    checks = {check.id: check for check in CHECKS}
    return [CheckReport(checks[name], finding, 1).facts() for name, finding in findings.items()]


def printed(rows: list[dict[str, object]], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of a report on a window of ``COLUMNS``."""
    for row in rows:
        show_passed(row)
    show_rest(rows)
    lines = []
    for line in capsys.readouterr().out.splitlines():
        lines += [line, *[""] * (max(0, cell_len(line) - 1) // COLUMNS)]
    return lines


def test_the_failure_is_last_and_visible_without_scrolling(capsys: pytest.CaptureFixture[str]) -> None:
    findings = {check.id: passed("fine") for check in CHECKS}
    findings["net.tcp"] = failed(Text("why.timed_out", limit_s="10"), Text("fix.check_timed_out"))
    findings["sys.clock"] = warning("not synchronised", Text("fix.no_time_source"))
    for name in ("api.clock", "net.tls", "api.latency", "api.auth"):
        findings[name] = consequence("net.tcp")
    lines = printed(rows_of(findings), capsys)
    assert len(lines) > LINES
    marks = [line[0] for line in lines if line and line[0] in "✓-!✗"]
    assert marks == ["✓"] * (len(CHECKS) - 6) + ["-", "!", "✗"]
    assert any(line.startswith("✗ net.tcp") for line in lines[-LINES:])
    assert lines[-1].strip() == f"docs: {documents()}/docs/reference/doctor.md#nettcp", "and its page"
    assert lines[-2].strip() == f"处理: {zh(Text('fix.check_timed_out'))}", "and its fix, in both languages"


def test_after_pip_install_the_path_of_a_page_is_that_in_the_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "agent")
    monkeypatch.setattr(resources, "_PACKAGED_DOCUMENTS", tmp_path / "none")
    assert str(documents() / "docs/reference/doctor.md#nettcp") == "docs/reference/doctor.md#nettcp"


def test_the_page_and_the_command_have_one_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the groups of the page in reverse order; a group has the order of the table."""
    kinds = (
        passed("fine"),
        skipped("not here"),
        consequence("net.tcp"),
        warning("old", FIX),
        failed("x", FIX),
    )
    rows = rows_of({check.id: kinds[number % 5] for number, check in enumerate(CHECKS)})
    groups = [["fail"], ["warn"], ["skip", True], ["skip", False], ["pass"]]
    first = most_urgent_first(rows)
    order = [[row["verdict"], *([bool(row["because"])] if row["verdict"] == "skip" else [])] for row in first]
    assert [kind for kind, _ in groupby(order)] == groups
    by_id = [check.id for check in CHECKS]
    for _, equal in groupby(first, key=urgency):
        ids = [by_id.index(row["id"]) for row in equal]
        assert ids == sorted(ids)
    shown = [line.split()[1] for line in printed(rows, capsys) if line and line[0] in "✓-!✗"]
    folded = [row["id"] for row in most_urgent_last(rows) if not row["because"]]
    assert [name for name in shown if "." in name] == folded
    assert most_urgent_last(rows)[-1]["verdict"] == "fail" and shown[-1] == folded[-1]
    assert [row["id"] for row in most_urgent_last(first)] == [row["id"] for row in most_urgent_last(rows)]


def test_unknown_verdict_of_a_newer_terminal_is_the_most_urgent(capsys: pytest.CaptureFixture[str]) -> None:
    """`facepay diag ask` prints the report of a terminal of any version."""
    rows = rows_of({"sys.disk": failed("full", FIX), "sys.clock": warning("slow", FIX)})
    rows[1]["verdict"] = "emergency"
    assert [row["id"] for row in most_urgent_first(rows)] == ["sys.clock", "sys.disk"]
    shown = [line for line in printed(rows, capsys) if line.startswith(("?", "✗"))]
    assert [line.split()[1] for line in shown] == ["sys.disk", "sys.clock"]


def test_consequences_of_one_cause_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    findings = {"config.lint": failed("config_invalid: x", Text("fix.config_invalid"))}
    findings |= {check.id: consequence("config.lint") for check in CHECKS[1:14]}
    lines = printed(rows_of(findings), capsys)
    assert lines[0] == "- 13 checks skipped because config.lint failed 因 config.lint 未通过，跳过 13 项"
    assert sum("config.lint failed" in line for line in lines) == 1


def test_one_consequence_keeps_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    findings = {"mqtt.connect": failed("x", Text("fix.read_broker_log"))}
    lines = printed(rows_of(findings | {"mqtt.roundtrip": consequence("mqtt.connect")}), capsys)
    assert lines[0] == "- mqtt.roundtrip    because mqtt.connect failed"


def test_a_broken_config_fits_one_screen(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[mqtt]\nhots = 'x'\n")
    done = facepay("doctor", "--config", str(config))
    lines = done.stdout.splitlines()
    assert done.returncode == 2 and len(lines) <= LINES, done.stdout
    (at,) = (number for number, line in enumerate(lines) if line.startswith("✗"))
    assert lines[at].startswith("✗ config.lint") and not any(
        line.startswith(("✓", "-", "!")) for line in lines[at:]
    )
    assert sum("because config.lint failed" in line for line in lines) == 1


def test_a_reason_is_printed_in_both_languages(capsys: pytest.CaptureFixture[str]) -> None:
    why = Text("why.timed_out", limit_s="10")
    lines = printed(rows_of({"net.tcp": failed(why, Text("fix.check_timed_out"))}), capsys)
    assert str(why) in lines[0] and f"    原因: {zh(why)}" in lines


@pytest.mark.parametrize(("name", "count"), [("api", 3), ("mqtt", 4), ("api.auth", 1)])
def test_only_takes_a_group(name: str, count: int) -> None:
    found = named_ids(CHECKS, [name])
    assert len(found) == count and all(each.startswith(name) for each in found)


def test_unknown_group_is_named_with_the_known_ones() -> None:
    with pytest.raises(AgentError) as refused:
        named_ids(CHECKS, ["apis"])
    assert refused.value.code == "check_unknown"
    assert all(each in str(refused.value.fix) for each in ("api,", "mqtt,", "api.auth"))


def test_only_api_prints_the_three_checks_and_a_failed_cause(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    (tmp_path / "key").write_text("a key")
    (tmp_path / "key").chmod(0o600)
    config.write_text(
        f"profile = 'demo'\nsite = 's'\nterminal = 't'\n[storage]\ndirectory = '{tmp_path}/state'\n"
        f"[compare]\nurl = 'http://127.0.0.1:9'\nappid = '1'\nsecret_id = 'i'\n"
        f"secret_key_file = '{tmp_path}/key'\n"
    )
    done = facepay("doctor", "--config", str(config), "--only", "api", "--json")
    ids = [each["id"] for each in json.loads(done.stdout)["checks"]]
    assert [each for each in ids if each.startswith("api.")] == ["api.clock", "api.latency", "api.auth"]
    assert "net.tcp" in ids and not any(each.startswith(("mqtt.", "camera.")) for each in ids)


def test_no_fix_for_a_technician_is_a_cashiers_text() -> None:
    texts = [*texts_below("fix").values(), *(each.fix for each in CONDITIONS.values())]
    texts += [fix_for(CompareError("x", code=each.reason, fix=each.fix)) for each in every_answer()]
    for text in texts:
        for locale in locales():
            template = text.template(locale)
            assert not any(words in template for words in CASHIER), (text.key, template)


def every_answer() -> list[codes.CodeMeaning]:
    """The meaning of each documented code of both APIs, and of an unknown code."""
    found = [codes.meaning_of(number) for number in (*filter(None, codes.table()), 987_654)]
    for row in compareface.table().values():
        found.append(codes.CodeMeaning(row.reason, row.retry, row.fix))
    return found


def test_each_check_names_its_section_of_the_documentation() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "reference" / "doctor.md").read_text()
    for check in CHECKS:
        path, _, anchor = check.docs.partition("#")
        assert path == "docs/reference/doctor.md"
        assert f"### `{check.id}`" in page and anchor == check.id.replace(".", "")


def test_json_has_the_documented_fields() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "reference" / "doctor.md").read_text()
    row = CheckReport(Check("net.tcp", lambda _: passed("x")), Finding(Verdict.PASS, "x"), 1).facts()
    for field in ("schema", "exit", "checks", *row):
        assert f"| `{field}` |" in page, field
