"""`facepay privacy-audit`: all data that the product stores on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from agent.cli.config import path_of
from agent.cli.console import Spinner, paint
from agent.cli.options import AsJson, ConfigFile
from agent.texts import labelled_lines

if TYPE_CHECKING:
    from agent.diagnostics.stored_files import AuditItem

_MARKS = {0: ("✓", "green"), 1: ("-", ""), 2: ("!", "yellow"), 3: ("✗", "red")}


def privacy_audit(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List all data of this product on this machine: purpose, person, age, protection.

    Searches every file for pictures; a file of unknown origin is a finding. Changes nothing. Use sudo to read
    all files. Exit 0: no finding, 1: a warning (or files that this user may not read), 2: a fault.
    """
    from agent.diagnostics.privacy import audit, worst_level
    from agent.root.doctor import inputs_from_file

    with Spinner("searching every file"):
        items = audit(inputs_from_file(path_of(config), must_be_runnable=False))
    level = worst_level(items)
    if as_json:
        rows = [item.facts() for item in items]
        print(json.dumps({"schema": "facepay.privacy/1", "items": rows}, ensure_ascii=False))
    else:
        for item in items:
            _show(item)
        total_bytes = sum(item.size_bytes for item in items)
        findings = sum(item.level > 0 for item in items)
        typer.echo(f"\n{len(items)} places, {total_bytes:,} bytes, {findings} findings")
    if level:
        raise typer.Exit(2 if level > 2 else 1)


def _show(item: AuditItem) -> None:
    mark, colour = _MARKS[item.level]
    size = f"{item.size_bytes:,} bytes" if item.mode else ""
    file_facts = ", ".join(filter(None, (item.mode, item.owner, size, _age(item.age_s))))
    print(paint(f"{mark} {item.path}" + (f"  ({file_facts})" if file_facts else ""), colour))
    if item.finding is not None:
        typer.echo("\n".join(f"    {line}" for line in labelled_lines(item.finding, "finding")))
    if item.remedy is not None:
        typer.echo("\n".join(f"    {line}" for line in labelled_lines(item.remedy, "fix")))
    if item.purpose:
        typer.echo(f"    purpose: {item.purpose}")
    if item.personal:
        typer.echo(f"    personal data: {item.personal}\n    kept: {item.kept}")


def _age(age_s: int | None) -> str:
    if age_s is None:
        return ""
    for unit_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if age_s >= unit_s:
            return f"{age_s // unit_s} {unit} old"
    return f"{age_s} s old"
