"""docs/reference/benchmark.md, generated from all runs in tests/bench/results/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.counts import read as read_counts
from tests.bench.goals import GOALS, Figure, Verdict
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

The bare import of the libraries imports the modules that the command itself imports, in the same order. A
module that the command blocks is blocked there, too.

`make test-long` also compares [counts of instructions](../../tests/bench/counts.json) with those of the
repository: a change of more than 3 % fails with the name of the count. Counts do not depend on the load of
the machine. Without valgrind, or with other libraries than those of the file, the test is skipped with the
reason. `python -m tests.bench.counts` prints the counts, `--write` replaces the file.

The parts are the real ones: detector, outbox on disk with `synchronous=FULL`, mosquitto, HTTP, signatures.
The camera is simulated. The API is simulated where the response time must be known.

Not measured: a real camera, the API of a provider, error rates.
"""


# Why a goal is missed, by its key: shown on the page while it is missed.
REASONS: Mapping[str, str] = {
    "whole_look": "the network takes 3.1 of 4.6 ms; the frame is also scaled to its input (0.45 ms), and"
    " the face is measured (0.6 ms), aligned and checked for a cover (0.3 ms), with caches that the"
    " network has filled: the measures need 0.35 ms when they are repeated at once, and by instructions"
    " the ratio is 1.23",
    "followed_look": "only the network depends on the size of the region and takes 0.8 of 1.8 ms; the"
    " measures of the face (0.4 ms) are those of a whole frame, the region is scaled (0.2 ms) and the"
    " face aligned (0.1 ms)",
    "presence_gate": "the bench measures the gate between other work, so the frame is not in a cache",
    "ready": "the agent itself takes 750 of 2 140 million instructions: 460 for 125 frozen dataclasses, for"
    " each of which Python 3.11 compiles seven functions, about 200 for its 169 modules, 50 for two networks"
    " and 30 for the models of the config; the start waits for nothing",
    "pss": "the agent also has two networks, some frames and the noise of the simulated camera in memory",
    "both_new": "the two embeddings take 27 ms: each has 574 million multiplications, and one core of this"
    " processor makes 50 million in a millisecond; the detector and the orientation take 12 ms, nearly as"
    " close to that limit; the goal leaves 46 ms for everything",
    "service_overhead": "beside the recognition, an API call takes 1.7 ms of CPU time in the event loop of"
    " the service and 1.6 ms in the client, which also counts; half of that when no recognition has filled"
    " the caches of the processor before; the goal leaves 2.2 ms for both",
    "two_workers": "the two workers share one event loop and one interpreter lock; two services do not",
    "delivery": "the fsync is one of five steps, and none can follow the publish: at the median, the result"
    " is encoded and signed (0.2 ms), committed with one fsync (0.25 ms), sent (0.12 ms), acknowledged by"
    " mosquitto (0.13 ms) and passed between three threads (0.15 ms), so 0.85 ms on a disk whose fsync"
    " takes 0.2 ms",
    "doctor": "the check of the models loads the recogniser and runs it once, which takes 0.3 s on one core",
}
# count of tests/bench/counts.json -> its calibration there, by the key of the goal
COUNTED = {
    "ready": ("start to READY", "imports"),
    "whole_look": ("whole look", "bare look"),
    "followed_look": ("followed look", "whole look"),
    "portrait_look": ("portrait whole look", "whole look"),
    "preview": ("preview, per picture", "followed look"),
}


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


def page(measured: Sequence[tuple[Row, Sequence[Section]]], counts: Mapping[str, int] | None = None) -> str:
    """The complete page. ``counts``: instructions; those of the repository unless given."""
    parts = [INTRO, _machines([here for here, _ in measured]), _counted(counts or read_counts()["counts"])]
    for here, sections in measured:
        parts += _of_machine(here, sections)
    return "\n".join(parts)


def _counted(counts: Mapping[str, int]) -> str:
    """The goals that counts of instructions show, independent of the load of the machine."""
    rows = list[Row]()
    for key, (name, calibration) in COUNTED.items():
        if name in counts and calibration in counts:
            ratio, verdict = GOALS[key].judge(Figure(counts[name], counts[calibration]))
            row: Row = {
                "goal": GOALS[key].what.removesuffix(", p50"),
                "count (million)": _millions(counts[name]),
            }
            row |= {"against": GOALS[key].against, "calibration (million)": _millions(counts[calibration])}
            rows.append(row | {"ratio": f"{ratio:.2f}", "limit": GOALS[key].bound, "reached": str(verdict)})
    missed = [row["goal"] for row in rows if row["reached"] == Verdict.MISSED]
    return "\n".join(["## Counts of instructions\n", markdown(rows), *_missed(missed)])


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f}"


def _missed(goals: Sequence[str]) -> list[str]:
    """A list of missed goals, each with its reason."""
    reasons = {GOALS[key].what.removesuffix(", p50"): reason for key, reason in REASONS.items()}
    rows = [(goal, reasons.get(goal.removesuffix(", p50"), "")) for goal in goals]
    lines = [f"- {goal}{reason and f': {reason}'}\n" for goal, reason in rows]
    return ["Not reached:\n", "".join(lines)] if lines else []


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
    parts += _missed([goal["goal"] for goal in goals if goal["reached"] == Verdict.MISSED])
    if found := [goal["goal"] for goal in goals if goal["reached"] == Verdict.NOT_MEASURED]:
        parts.append(f"Not measured: {'; '.join(found)}.\n")
    if all(goal["reached"] == "yes" for goal in goals):
        parts.append("All goals were reached.\n")
    for section in sections:
        parts.append(f"### {section.name[:1].upper()}{section.name[1:]}\n")
        parts += [markdown(section.rows)] if section.rows else []
        parts += ["".join(f"- {note}\n" for note in section.notes)] if section.notes else []
    return parts


if __name__ == "__main__":
    PAGE.write_text(page(runs()), encoding="utf-8")
