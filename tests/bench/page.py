"""docs/reference/benchmark.md, generated from the last complete run: ``python -m tests.bench.page``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.bench.report import Row, Section, cell, columns, machine_line, read

LATEST = Path(__file__).parent / "results" / "latest.json"
PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "benchmark.md"

INTRO = """# Benchmark

`make bench` runs all measurements in about eight minutes. The run prints the results and writes [the
figures as JSON](../../tests/bench/results/latest.json) and this page. `make bench ARGS="latency idle"` runs
some sections; `ARGS=--quick` runs small samples of all sections. Run no other program on the machine at the
same time.

The parts are the real ones: detector, outbox on disk with `synchronous=FULL`, mosquitto, HTTP, signatures.
The camera is simulated. The API is simulated where the response time must be known. All figures are from
one machine. No figure was measured on a Raspberry Pi.

Not measured: a Raspberry Pi, a real camera, the API of a provider, error rates.
"""


def markdown(rows: Sequence[Row]) -> str:
    """Rows as one Markdown table; figures are right-aligned."""
    names = columns(rows)
    lines = [names, ["---", *("---:" for _ in names[1:])]]
    lines += [[cell(row.get(name, "")).replace("|", "\\|") for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def page(here: Row, sections: Sequence[Section]) -> str:
    """The complete page."""
    libraries = ", ".join(f"{name} {version}" for name, version in here["libraries"].items())
    parts = [INTRO, f"**Machine.** {machine_line(here)}. {libraries}.\n", "## Goals\n"]
    goals = [goal for section in sections for goal in section.goals]
    missed = [goal["goal"] for goal in goals if goal["reached"] != "yes"]
    parts.append(markdown(goals))
    parts.append(f"Not reached: {'; '.join(missed)}.\n" if missed else "All of these goals were reached.\n")
    for section in sections:
        parts.append(f"## {section.name[:1].upper()}{section.name[1:]}\n")
        parts.append(markdown(section.rows))
        if section.notes:
            parts.append("".join(f"- {note}\n" for note in section.notes))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(*read(LATEST)), encoding="utf-8")
