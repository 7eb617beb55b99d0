"""`facepay doctor`: the faults of this terminal, and a fix for each; `facepay diag`: of a remote one."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.config import path_of
from agent.cli.console import Spinner, paint
from agent.cli.options import AsJson, ConfigFile, File, file, grouped, pem, read_file
from agent.cli.till_options import IdentityOptions, TerminalFile, TerminalOptions, broker_of, topics_of
from agent.fleet.time_limits import REPORT_TIMEOUT_S
from agent.log import printable
from agent.resources import documents
from agent.texts import Text, json_field_names, lines_of_fields, on_one_line, text_of_fields

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agent.diagnostics.check import Check, CheckReport

remote = typer.Typer(no_args_is_help=True, help="Diagnose a remote terminal over MQTT.")

_MARKS = {"pass": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red"), "skip": ("-", "dim")}
# loggers that are silenced, because the report names the same faults
_QUIET = ("agent.till", "agent.compare", "agent.camera", "agent.vision")

Only = Annotated[
    str,
    typer.Option(
        "--only", metavar="ID[,ID]", help="Only these checks or groups, e.g. api, and the checks they need."
    ),
]
AfterUpgrade = Annotated[
    bool, typer.Option("--after-upgrade", help="Only wait until the agent is healthy with this version.")
]
Before = Annotated[
    File, file(help="With --after-upgrade: `facepay status --json` before it; its faults do not count.")
]
Within = Annotated[float, typer.Option(min=2, max=600, help="With --after-upgrade: maximum wait.")]


def doctor(
    config: ConfigFile = None,
    only: Only = "",
    after_upgrade: AfterUpgrade = False,
    before: Before = None,
    within_s: Within = 120,
    as_json: AsJson = False,
) -> None:
    """Check this terminal: one line per check, and a fix for each fault. Faults are the last lines.

    Works with and without a running agent. Reads a running agent's status; never takes its camera or broker
    connection. Makes no paid call. Exit 0: healthy, 1: a warning, 2: a fault.
    """
    if after_upgrade:
        from agent.cli.after_upgrade import check

        raise typer.Exit(check(config, before, within_s, as_json=as_json))
    from agent.diagnostics.checks.table import CHECKS
    from agent.diagnostics.doctor import exit_code, named_ids, select

    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    wanted = named_ids(CHECKS, ids_of(only))
    began_s, path = time.monotonic(), path_of(config)
    if not as_json:
        print(f"facepay doctor, {path}\n", flush=True)
    reports = _checked(select(CHECKS, wanted), path, wanted, as_json=as_json)
    code, rows = exit_code(reports), [report.facts() for report in reports]
    if as_json:
        print(json.dumps({"schema": "facepay.doctor/1", "exit": code, "checks": rows}, ensure_ascii=False))
    else:
        show_rest(rows)
        print(f"\n{_totals(reports)} in {time.monotonic() - began_s:.1f} s")
    raise typer.Exit(code)


def _checked(
    checks: Sequence[Check], path: Path, wanted: Collection[str], *, as_json: bool
) -> list[CheckReport]:
    """Run the checks and print those that passed. A needed check that is not wanted appears if it failed."""
    from agent.diagnostics.doctor import run_checks
    from agent.root.doctor import inputs_from_file

    reports = list["CheckReport"]()
    with Spinner("starting the checks") as spinner:
        for report in run_checks(checks, inputs_from_file(path)):
            spinner.update(_next_step(checks, report.check))
            if wanted and report.check.id not in wanted and report.finding.verdict != "fail":
                continue
            reports.append(report)
            if not as_json:
                show_passed(report.facts(), spinner.print_out)
    return reports


def _totals(reports: Sequence[CheckReport]) -> str:
    counts = Counter[str](report.finding.verdict for report in reports)
    names = {"pass": "passed", "warn": "warned", "fail": "failed", "skip": "skipped"}
    return ", ".join(f"{counts[verdict]} {name}" for verdict, name in names.items())


def ids_of(only: str) -> list[str]:
    """The ids of ``--only``."""
    return [name.strip() for name in only.split(",") if name.strip()]


def _next_step(checks: Sequence[Check], done: Check) -> str:
    left = checks[list(checks).index(done) + 1 :]
    return f"{left[0].id}: {left[0].title}, {len(left)} left" if left else "done"


def show_passed(row: Mapping[str, Any], print_line: Callable[[str], None] = print) -> None:
    """Print a check that passed. ``show_rest`` prints the others below: the end of the output is visible."""
    if row["verdict"] == "pass":
        show_row(row, print_line)


def show_rest(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the checks that did not pass, the failures last; all consequences of one failure as one line."""
    from agent.diagnostics.order import most_urgent_last

    left = Counter[str](row["because"] for row in rows)  # by failure: its consequences that are not printed
    for row in most_urgent_last(row for row in rows if row["verdict"] != "pass"):
        cause = row["because"]
        count = left.pop(cause, 0) if cause else 1
        if count == 1:
            show_row(row)
        elif count:
            print(paint(f"- {on_one_line(Text('cli.checks_skipped', count=count, cause=cause))}", "dim"))


def show_row(row: Mapping[str, Any], print_line: Callable[[str], None] = print) -> None:
    """Print one check of ``facepay.doctor/1``: its mark, the finding, and the fix."""
    mark, colour = _MARKS.get(row["verdict"], ("?", "yellow"))  # a newer terminal can have more verdicts
    title = f"{on_one_line(text_of_fields('title', row))}: " if row["fix"] else ""
    print_line(paint(f"{mark} {row['id']:<17} {title}{row['why']}", colour))
    if not row["fix"]:
        return
    reasons = {field: row.get(field) for field in json_field_names("why") if row.get(field) != row["why"]}
    for line in [*lines_of_fields("why", reasons), *lines_of_fields("fix", row)]:
        print_line(f"    {printable(line)}")
    if row.get("docs"):
        print_line(f"    docs: {printable(str(documents() / row['docs']))}")


@remote.command(
    "ask", epilog="Example:  facepay diag ask --terminal terminal-1 --sign-key ops.key --key terminal.pem"
)
@grouped
def ask(
    sign_key: Annotated[Path, pem(help="This operator's private key.")],
    key: Annotated[Path, pem(help="The terminal's public key (facepay keys show).")],
    operator: Annotated[str, typer.Option(help="This operator's id.")] = "back-office",
    at: TerminalOptions = TerminalOptions(),
    only: Annotated[str, typer.Option(metavar="ID[,ID]", help="Only these checks.")] = "",
    timeout_s: Annotated[
        float, typer.Option(min=1, max=600, help="Maximum wait for the report.")
    ] = REPORT_TIMEOUT_S,
    config: TerminalFile = None,
    client: IdentityOptions = IdentityOptions(),
    as_json: AsJson = False,
) -> None:
    """Request the doctor's report of a terminal: read-only, signed in both directions, no config values.

    The terminal must trust this operator's key. On the terminal: facepay keys trust --operator back-office
    ops.pem. `--config` reads the broker's address and CA, site and terminal from a terminal's file. Exit as
    `facepay doctor`: 0, 1 or 2.
    """
    from agent import event_loop
    from agent.fleet.diagnosis_client import DiagnosisClient
    from agent.messages.signing import PublicKey, Signer

    broker, topics = broker_of(at, client, config), topics_of(at, config)
    diagnosis = DiagnosisClient(
        broker, topics, operator, Signer.load(sign_key), PublicKey.load(read_file(key))
    )
    with Spinner(f"waiting for the report of {topics.site}/{topics.terminal}", in_pipe=True):
        report = event_loop.run(diagnosis.request_report(tuple(ids_of(only)), timeout_s=timeout_s))
    doctor: dict[str, Any] = report["doctor"]
    if as_json:
        print(json.dumps(doctor, ensure_ascii=False))
    else:
        print(f"facepay doctor of {topics.site}/{topics.terminal}, signed by its key\n")
        rows = [{name: _printable(value) for name, value in row.items()} for row in doctor["checks"]]
        for row in rows:
            show_passed(row)
        show_rest(rows)
    raise typer.Exit(doctor["exit"])


def _printable(value: object) -> object:
    """The value without characters that could control this terminal window."""
    return "".join(char for char in value if char.isprintable()) if isinstance(value, str) else value
