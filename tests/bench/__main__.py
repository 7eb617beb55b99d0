"""``python -m tests.bench [SECTION ...] [--quick]``: runs the measurements and prints tables.

A complete run also writes ``results/latest.json`` and, from this file, ``docs/reference/benchmark.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

from agent.cli.waiting import Spinner
from tests.bench.page import LATEST, PAGE, page
from tests.bench.report import Section, aligned, machine, machine_line, read, table, write

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
)


def measure(name: str, *, quick: bool) -> Section:
    section: Section = import_module(f"tests.bench.{name}").run(quick=quick)
    return section


def measure_all(names: Sequence[str], *, quick: bool) -> list[Section]:
    """Every section in order; each table is printed as soon as it is complete."""
    sections = []
    for number, name in enumerate(names, start=1):
        with Spinner(f"{name}, {number} of {len(names)}") as spinner:
            sections.append(measure(name, quick=quick))
            spinner.print_out("\n" + table(sections[-1]))
    if goals := [goal for section in sections for goal in section.goals]:
        print("\n".join(["", "== goals", *aligned(goals)]))
    return sections


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("sections", nargs="*", help=f"some of: {' '.join(SECTIONS)}")
    parser.add_argument(
        "--quick", action="store_true", help="small samples, to check that every section runs"
    )
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    print(machine_line(machine()))
    sections = measure_all(options.sections or SECTIONS, quick=options.quick)
    if not options.sections and not options.quick:
        write(sections, LATEST)
        PAGE.write_text(page(*read(LATEST)), encoding="utf-8")
        print(f"\nwritten: tests/bench/results/{LATEST.name}, docs/{PAGE.name}")


if __name__ == "__main__":
    main()
