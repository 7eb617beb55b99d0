"""docs/reference/faults.md, written from the fault table: ``python -m tests.docs.faults_page``."""

from __future__ import annotations

from pathlib import Path

from tests.faults.fault import Fault
from tests.faults.table import GROUPS

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "faults.md"

INTRO = """# Faults of an operator

This page is generated from the fault table of the tests (`python -m tests.docs.faults_page`). For each row,
`make test-full` makes the fault on an installed package in a booted Debian 12 and in a booted Debian 13. Then
one run of `sudo facepay doctor` and one run of `facepay status` must name the fault. The test compares the
check, a part of its finding, a part of its fix, and a part of the status. Before each fault the terminal is
healthy, and doctor and status report no fault.

State of 2026-11-28: in one run of the complete table, both commands named each of the 54 faults on both
releases.

- **doctor**: the [check](doctor.md) that warns or fails, and a part of its finding.
- **status**: the [condition](conditions.md), or a part of the text when no agent runs.
- **Debian 12**, **Debian 13**: ✓ both commands name the fault; *doctor* or *status*: only this command does.

"""


def page() -> str:
    """The complete page."""
    return INTRO + "\n".join(_group(title, faults) for title, faults in GROUPS.items())


def _group(title: str, faults: tuple[Fault, ...]) -> str:
    head = f"## {title}\n\n| fault | doctor | status | Debian 12 | Debian 13 |\n|---|---|---|---|---|\n"
    return head + "".join(map(_row, faults))


def _row(fault: Fault) -> str:
    doctor = f"`{fault.check}`: {fault.why}" if fault.check else ""
    both = bool(fault.check and fault.status)
    named = "✓" if both else "*doctor*" if fault.check else "*status*" if fault.status else "no"
    status = f"`{fault.status}`" if fault.status else ""
    return f"| {fault.title} | {doctor} | {status} | {named} | {named} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
