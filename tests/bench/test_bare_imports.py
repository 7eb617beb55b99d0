"""The calibration of start times imports what the command imports, and nothing that the command blocks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.bare_imports import import_command, imported, modules_of

_FOLDER = Path(__file__).parent


def test_a_blocked_module_is_listed_as_blocked_and_stays_out(tmp_path: Path) -> None:
    """A library may import more than the command lets it: httpx its command line, with rich and click."""
    listed, script = tmp_path / "listed", _FOLDER / "import_bare.py"
    listed.write_text("!colorsys\njson\n")
    code = (
        f"import sys; sys.argv = ['x', {str(listed)!r}]; import runpy; runpy.run_path({str(script)!r}, "
        "run_name='__main__'); print('json' in sys.modules, sys.modules['colorsys'])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["True", "None"]


def test_the_list_of_a_command_has_no_module_of_this_project(tmp_path: Path) -> None:
    names = modules_of(["--version"], tmp_path, dict(os.environ)).read_text().split()
    assert "typer" in names
    assert not [name for name in names if name.lstrip("!").split(".")[0] in {"agent", "tests"}]


def test_the_bare_process_is_measured_before_its_end(tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    listed.write_text("json\n!json.nothing\nno_such_module\n")
    elapsed_ms, pss_mib = imported(listed, dict(os.environ))
    assert elapsed_ms > 0
    assert pss_mib > 1
    assert subprocess.run(import_command(listed), check=False).returncode == 0
