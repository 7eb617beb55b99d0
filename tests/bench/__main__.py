"""``python -m tests.bench [SECTION ...] [--quick]``: one run, tables on stdout, JSON beside it."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from tests.bench.report import Section, machine, table, write

SECTIONS = ("detector", "idle", "memory", "service", "service_ratios", "compare_client", "latency", "visits")
LATEST = Path(__file__).parent / "results" / "latest.json"


def measure(name: str, *, quick: bool) -> Section:
    section: Section = import_module(f"tests.bench.{name}").run(quick=quick)
    return section


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("sections", nargs="*", help=f"some of: {' '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="small samples, to see that it runs")
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    here = machine()
    size = f"{here['cores']} cores, {here['memory_gib']} GiB"
    print(f"{here['cpu']}, {size}, {here['system']}, Python {here['python']}")
    done = []
    for name in options.sections or SECTIONS:
        print(f"... {name}", file=sys.stderr, flush=True)
        done.append(measure(name, quick=options.quick))
        print("\n" + table(done[-1]), flush=True)
    if not options.sections and not options.quick:
        write(done, LATEST)
        print(f"\nwritten to {LATEST.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
