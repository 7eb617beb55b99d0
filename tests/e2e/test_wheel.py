"""The installed wheel works in a fresh environment, outside the source tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """stdout of a command that must succeed, as in a user's shell: without PYTHONPATH."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=env, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of an environment with the built wheel; a path file adds the dependencies without network."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=folder,
    )
    # A path line adds a folder but does not run its .pth files: the editable install is not imported.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_the_package_is_the_installed_one(installed: Path) -> None:
    where = run(installed / "python", "-c", "import agent; print(agent.__file__)", cwd=installed).strip()
    assert Path(where).is_relative_to(installed.parent)


def test_the_demo_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    report = json.loads(run(installed / "facepay", "demo", "--json", cwd=tmp_path))
    seen = [(row["decision"], row["reason"], row["calls"]) for row in report["verifications"]]
    calls = seen[4][2]  # a machine that lost the payer during the call asks again
    assert seen == [
        ("match", "same_person", 1),
        ("no_match", "different_person", 1),
        ("undecided", "no_face", 0),
        ("undecided", "multiple_faces", 0),
        ("undecided", "reference_unusable", calls),
        ("undecided", "compare_unreachable", 0),
        ("match", "same_person", 1),
    ]
    assert calls in (1, 2)
    assert all(row["as_expected"] for row in report["verifications"])
    assert report["summary"]["frames_seen"] >= report["summary"]["frames_looked_at"] > 0
    assert list(tmp_path.iterdir()) == [], "the demo leaves nothing behind"


def test_the_shipped_config_is_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    shown = json.loads(run(installed / "facepay", "config", "show", "--json", cwd=tmp_path))
    assert shown["verification"]["max_asks"] == 3


def test_the_diagnostics_page_is_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = """
import time
from agent.page.app import Sources, application
from agent.page.doctor_job import DoctorJob
from agent.page.login import SessionStore
sessions = SessionStore(None, secure=False, now_s=time.monotonic)
application(Sources(dict, DoctorJob(list), None, lambda _: b""), sessions)  # reads all its files
"""
    run(installed / "python", "-c", code, cwd=tmp_path)
