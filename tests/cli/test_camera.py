"""`facepay camera` on a terminal where no agent runs."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from agent.cli.command_table import application
from agent.errors import CameraError

runner = CliRunner()


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "agent.toml"
    path.write_text(
        'profile = "demo"\n[camera]\nsource = "one_obama_portrait"\nstall_ms = 120000\n'
        f'[storage]\ndirectory = "{tmp_path}"\n'
    )
    return str(path)


def test_camera_shot_writes_one_private_file_and_describes_it(tmp_path: Path, config: str) -> None:
    out = tmp_path / "look.jpg"
    done = runner.invoke(application(), ["camera", "shot", str(out), "--config", config])
    assert done.exit_code == 0, done.output
    assert out.read_bytes().startswith(b"\xff\xd8") and stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "picture of the people in front of the camera" in done.output and "请删除" in done.output
    assert {path.name for path in tmp_path.iterdir()} == {"agent.toml", "look.jpg"}, (
        "and nothing else is left"
    )


def test_piped_meters_are_lines_without_control_codes(config: str) -> None:
    done = runner.invoke(application(), ["camera", "focus", "--seconds", "0.1", "--config", config])
    assert done.exit_code == 0 and "sharpness" in done.output and "peak" in done.output
    assert "\x1b" not in done.output and "\r" not in done.output
    done = runner.invoke(application(), ["camera", "light", "--config", config])
    assert "mean" in done.output and "Good." in done.output and "良好" in done.output


def test_camera_meters_with_json_print_the_readings(config: str) -> None:
    done = runner.invoke(application(), ["camera", "light", "--json", "--config", config])
    reading = json.loads(done.output)
    assert set(reading) == {"sharpness", "mean_luma", "dark_share", "bright_share", "levels", "metadata"}
    assert reading["metadata"] == {}, "a replayed picture has no camera facts"
    done = runner.invoke(application(), ["camera", "focus", "--json", "--seconds", "0", "--config", config])
    assert json.loads(done.output.splitlines()[0])["sharpness"] > 0


def test_camera_meter_strobed_camera_reads_the_lit_frames_only(tmp_path: Path) -> None:
    film = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    lit = cv2.resize(np.random.default_rng(7).integers(40, 220, (6, 8, 3), np.uint8), (320, 240))
    for luma in (1.0, 0.02) * 4:
        film.write(cv2.convertScaleAbs(lit, alpha=luma))
    film.release()
    path = tmp_path / "agent.toml"
    path.write_text(
        f'profile = "demo"\n[camera]\nsource = "{tmp_path}/film.avi"\nloop = true\nfps = 30\n'
        f'stall_ms = 120000\n[storage]\ndirectory = "{tmp_path}"\n'
    )
    done = runner.invoke(
        application(), ["camera", "focus", "--json", "--seconds", "1.2", "--config", str(path)]
    )
    readings = [json.loads(line) for line in done.output.splitlines()]
    assert readings and all(reading["mean_luma"] > 80 for reading in readings)


def test_no_camera_is_an_error_with_a_fix(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        f'[camera]\nkind = "stream"\nsource = "http://127.0.0.1:9/x"\n[storage]\ndirectory = "{tmp_path}"\n'
    )
    done = runner.invoke(application(), ["camera", "shot", str(tmp_path / "x.jpg"), "--config", str(path)])
    assert isinstance(done.exception, CameraError) and done.exception.fix
    assert not (tmp_path / "x.jpg").exists()
