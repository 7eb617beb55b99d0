"""``python -m tests.bench [SECTION ...] [--quick] [--share]``: runs the measurements and prints tables.

A complete run also writes the file of this machine in ``results/`` and, from all files there,
docs/reference/benchmark.md. ``--share`` writes one JSON file for a report instead. Exit code 1: a goal was
missed. A figure that could not be measured is printed and is no miss.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from agent.cli.console import Spinner
from tests.bench.disturbance import Ticks, disturbance
from tests.bench.goals import Verdict
from tests.bench.page import PAGE, RESULTS, page, runs
from tests.bench.report import (
    Section,
    aligned,
    judged,
    machine,
    machine_line,
    machine_name,
    table,
    write,
)
from tests.bench.share import SHARED, write_shared

SECTIONS = (
    "detector",
    "seeing",
    "unseen",
    "idle",
    "memory",
    "service",
    "service_ratios",
    "overload",
    "compare_client",
    "delivery",
    "latency",
    "visits",
    "tools",
    "preview",
    "display",
    "package",
)


def measure(name: str, *, quick: bool) -> Section:
    """One section. A library that this machine does not have leaves the section empty, with a note."""
    before = Ticks.now()
    try:
        section: Section = import_module(f"tests.bench.{name}").run(quick=quick)
    except ImportError as error:
        section = Section(name, notes=[f"not measured: the library {error.name} is not installed"])
    section.module = name
    section.disturbed = disturbance(before, Ticks.now())
    if section.disturbed:
        section.notes.append(f"figures of time are not judged: {section.disturbed}")
    return section


def measure_all(names: Sequence[str], *, quick: bool) -> list[Section]:
    """Every section in order; each table is printed as soon as it is complete."""
    sections = []
    for number, name in enumerate(names, start=1):
        with Spinner(f"{name}, {number} of {len(names)}") as spinner:
            sections.append(measure(name, quick=quick))
            spinner.print_out("\n" + table(sections[-1]))
    return sections


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("sections", nargs="*", help=f"some of: {' '.join(SECTIONS)}")
    parser.add_argument(
        "--quick", action="store_true", help="small samples, to check that every section runs"
    )
    parser.add_argument("--share", action="store_true", help="write one JSON file that can be published")
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    print(machine_line(machine()))
    sections = measure_all(options.sections or SECTIONS, quick=options.quick)
    goals = judged(sections)
    if goals:
        print("\n".join(["", "== goals", *aligned(goals)]))
    if options.share:
        write_shared(sections)
        print(f"\nwritten: {SHARED.parent.name}/{SHARED.name}, without names, addresses and pictures")
    elif not options.sections and not options.quick:
        path = RESULTS / f"{machine_name(machine())}.json"
        write(sections, path)
        PAGE.write_text(page(runs()), encoding="utf-8")
        print(f"\nwritten: tests/bench/results/{path.name}, docs/reference/{PAGE.name}")
    return int(any(goal["reached"] == Verdict.MISSED for goal in goals))


if __name__ == "__main__":
    sys.exit(main())
