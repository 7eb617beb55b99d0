"""The camera kinds are a closed set: each declared kind has a backend, and a new kind cannot be forgotten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from agent.config import CameraConfig, Config
from agent.errors import ConfigError
from agent.root.cameras import make_camera
from agent.root.runnable_config import check_rules
from tests.camera.clock import HandClock
from tests.type_check import copied_cache

ROOT = Path(__file__).parents[2]
SECTION = ROOT / "agent" / "config" / "vision.py"
DECLARED = 'Literal["replay", "picamera2", "v4l2", "stream"'
KINDS = get_args(CameraConfig.model_fields["kind"].annotation)


def undeclared() -> Config:
    """A config of a kind without a backend, as a newer version could declare it."""
    return Config().model_copy(update={"camera": CameraConfig.model_construct(kind="thermal")})


@pytest.mark.parametrize("kind", KINDS)
def test_factory_each_declared_kind_makes_a_camera(kind: str) -> None:
    source = {"source": "rtsp://camera.example/1"} if kind == "stream" else {}
    make_camera(CameraConfig.model_validate({"kind": kind, **source}), HandClock()).stop()


def test_factory_kind_without_backend_is_no_demo_film() -> None:
    with pytest.raises(ConfigError, match=r"^camera\.kind: .*'thermal'"):
        make_camera(undeclared().camera, HandClock())


def test_runnable_config_kind_without_backend_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^camera\.kind: "):
        check_rules(undeclared())


def test_type_check_declared_kind_without_a_case_fails(tmp_path: Path) -> None:
    files = ("agent/root/cameras.py", "agent/config/profile.py")
    text = SECTION.read_text(encoding="utf-8")
    assert text.count(DECLARED) == 1
    shadow = tmp_path / "vision.py"
    shadow.write_text(text.replace(DECLARED, f'{DECLARED}, "thermal"'), encoding="utf-8")
    options = ["--cache-dir", str(copied_cache(tmp_path))]
    options += ["--shadow-file", str(SECTION), str(shadow)]
    command = [sys.executable, "-m", "mypy", *options, *files]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    for file in files:
        (error,) = (
            line for line in done.stdout.splitlines() if line.startswith(f"{file}:") and "error" in line
        )
        assert "thermal" in error
    assert "Found 2 errors in 2 files" in done.stdout
