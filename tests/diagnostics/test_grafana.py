"""The dashboards have the shape of Grafana's own types, with Grafana's packages from the registry of npm.

A Grafana itself is not in Debian. `tsc` checks each field, each value of an enumeration, each panel option.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long  # installs packages from npm

TYPES = Path(__file__).parent / "dashboard_types.ts"
DASHBOARDS = sorted((Path(__file__).parents[2] / "config" / "grafana").glob("*.json"))
PACKAGES = ("@grafana/schema@13", "@grafana/grafana-foundation-sdk@0.0", "typescript@5")
PANELS = {
    "stat": "StatPanel",
    "table": "TablePanel",
    "timeseries": "TimeseriesPanel",
    "state-timeline": "StateTimelinePanel",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages; skip with the reason where no registry can be reached."""
    folder = tmp_path_factory.mktemp("grafana")
    shutil.copy(TYPES, folder)
    command = ("npm", "install", "--silent", "--no-audit", "--no-fund", *PACKAGES)
    try:
        done = subprocess.run(
            command, check=False, cwd=folder, capture_output=True, text=True, timeout=300, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"needs npm and its registry: {error}")
    if done.returncode:
        pytest.skip(f"npm cannot install the packages: {done.stderr.strip()[-300:]}")
    return folder


def faults(folder: Path, board: dict[str, Any]) -> str:
    """The output of the compiler for a dashboard; empty: no fault."""
    lines = [f"import type {{ Board, {', '.join(PANELS.values())} }} from './dashboard_types'"]
    own = {name: value for name, value in board.items() if name != "panels"}
    lines.append(f"export const board: Board = {json.dumps(own, indent=1)}")
    for panel in board["panels"]:
        kind = PANELS[panel["type"]]
        lines.append(f"export const panel{panel['id']}: {kind} = {json.dumps(panel, indent=1)}")
    (folder / "board.ts").write_text("\n".join(lines), encoding="utf-8")
    options = (
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
    )
    done = subprocess.run(
        ("npx", "tsc", *options, "board.ts"),
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_has_the_shape_of_grafanas_types(dashboard: Path, folder: Path) -> None:
    assert faults(folder, json.loads(dashboard.read_text(encoding="utf-8"))) == ""


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("board", {"refesh": "30s"}),
        ("panel", {"options": {"legend": {"displayMode": "tabel"}}}),
        ("panel", {"fieldConfig": {"defaults": {"custom": {"lineWidht": 1}}, "overrides": []}}),
        ("panel", {"gridPos": {"x": "0", "y": 0, "w": 1, "h": 1}}),
        ("query", {"expression": "up"}),
        ("query", {"format": "tabel"}),
    ],
    ids=["field", "option", "custom option", "place", "query", "format"],
)
def test_a_wrong_field_or_value_is_found(part: str, change: dict[str, Any], folder: Path) -> None:
    board = json.loads(DASHBOARDS[0].read_text(encoding="utf-8"))
    panel = next(each for each in board["panels"] if each["type"] == "timeseries")
    parts = {"board": board, "panel": panel, "query": panel["targets"][0]}
    parts[part].update(change)
    assert "error TS" in faults(folder, board)
