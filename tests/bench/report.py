"""What a section hands back, and how it is printed. Figures are rows; prose goes to the notes."""

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
    "opencv-python-headless",
    "numpy",
    "paho-mqtt",
    "httpx",
    "pydantic",
    "joserfc",
    "uvicorn",
    "dlib-bin",
)
Row = dict[str, Any]


@dataclass
class Section:
    """One table."""

    name: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
    """What this was measured on, without any path or name of it."""
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
    names = list(dict.fromkeys(name for row in section.rows for name in row))
    cells = [[_cell(row.get(name, "")) for name in names] for row in section.rows]
    widths = [max(len(text) for text in column) for column in zip(names, *cells, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        for row in (names, *cells)
    ]
    notes = [f"  {note}" for note in section.notes]
    return "\n".join([f"== {section.name}", *(line.rstrip() for line in lines), *notes])


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def write(sections: Sequence[Section], path: Path) -> None:
    tree = {"machine": machine(), "sections": [vars(section) for section in sections]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
