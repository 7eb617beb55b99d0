"""docs/reference/benchmark.md, generated from all runs in tests/bench/results/."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.bench.report import SCHEMA, Row, Section, cell, columns, judged, machine_line, read

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "benchmark.md"

INTRO = """# Benchmark

`make bench` runs all measurements in about ten minutes. The run prints the results and writes the figures of
this machine as a JSON file in [tests/bench/results](../../tests/bench/results/), and this page from all files
there. `make bench ARGS="latency idle"` runs some sections; `ARGS=--quick` runs small samples of all sections.
Run no other program on the machine at the same time.

Each goal is a ratio of two figures of one run: the measured figure against a calibration, which was measured
on the same machine in the same section. So the goals hold for a slow and for a fast machine. `make bench`
ends with exit code 1 when a goal is missed. The absolute times below the goals are information about one
machine. A figure is not judged when other programs used the machine, or when the machine lacks a program or
a second core; the table then contains "not measured" and the notes contain the reason.

`make bench ARGS=--share` writes `dist/facepay-bench.json`: the same figures of your machine without names,
addresses, paths or pictures. Attach the file to a report. A file in tests/bench/results/ becomes a part of
this page with `make docs`.

`make test-long` also compares [counts of instructions](../../tests/bench/counts.json) with those of the
repository: a change of more than 3 % fails with the name of the count. Counts do not depend on the load of
the machine. `python -m tests.bench.counts` prints them, `--write` replaces the file.

The parts are the real ones: detector, outbox on disk with `synchronous=FULL`, mosquitto, HTTP, signatures.
The camera is simulated. The API is simulated where the response time must be known.

Not measured: a real camera, the API of a provider, error rates.
"""


def runs(folder: Path = RESULTS) -> list[tuple[Row, list[Section]]]:
    """(machine, sections) of each run in a folder, in the order of the names. Other files are ignored."""
    paths = sorted(folder.glob("*.json"))
    return [
        read(path) for path in paths if json.loads(path.read_text(encoding="utf-8")).get("schema") == SCHEMA
    ]


def markdown(rows: Sequence[Row]) -> str:
    """Rows as one Markdown table; figures are right-aligned."""
    names = columns(rows)
    lines = [names, ["---", *("---:" for _ in names[1:])]]
    lines += [[cell(row.get(name, "")).replace("|", "\\|") for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def page(measured: Sequence[tuple[Row, Sequence[Section]]]) -> str:
    """The complete page."""
    parts = [INTRO, _machines([here for here, _ in measured])]
    for here, sections in measured:
        parts += _of_machine(here, sections)
    return "\n".join(parts)


def _machines(machines: Sequence[Row]) -> str:
    """How many machines were measured, and whether a Raspberry Pi is among them."""
    names = [machine_line(here) for here in machines]
    match len(names):
        case 0:
            return "**No machine was measured.**\n"
        case 1:
            many = "**One machine was measured.** No figure of this page was confirmed on a second machine."
        case count:
            many = f"**{count} machines were measured**, each with the same commands."
    if not any("Raspberry Pi" in name for name in names):
        many += " No figure was measured on a Raspberry Pi."
    return many + "\n"


def _of_machine(here: Row, sections: Sequence[Section]) -> list[str]:
    libraries = ", ".join(f"{name} {version}" for name, version in here["libraries"].items())
    parts = [f"## {here['cpu']}, {here['cores']} cores\n", f"{machine_line(here)}. {libraries}.\n"]
    goals = judged(sections)
    parts += ["### Goals\n", markdown(goals)]
    for verdict, name in (("NO", "Not reached"), ("not measured", "Not measured")):
        if found := [goal["goal"] for goal in goals if goal["reached"] == verdict]:
            parts.append(f"{name}: {'; '.join(found)}.\n")
    if all(goal["reached"] == "yes" for goal in goals):
        parts.append("All goals were reached.\n")
    for section in sections:
        parts.append(f"### {section.name[:1].upper()}{section.name[1:]}\n")
        parts += [markdown(section.rows)] if section.rows else []
        parts += ["".join(f"- {note}\n" for note in section.notes)] if section.notes else []
    return parts


if __name__ == "__main__":
    PAGE.write_text(page(runs()), encoding="utf-8")
