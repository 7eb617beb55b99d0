"""What the package says about the camera module of the Pi: in its control file and in the error."""

from __future__ import annotations

from pathlib import Path

import build_deb
import pytest

from agent.camera.picamera.errors import not_installed
from tests.texts import en, zh

STEP = "sudo apt install python3-picamera2 python3-libcamera"


@pytest.mark.parametrize(
    ("arch", "included", "recommended", "sentence"),
    [
        ("arm64", False, True, STEP),
        ("arm64", True, False, "Contains picamera2."),
        ("amd64", False, False, "picamera2 exists for arm64 only"),
    ],
)
def test_the_control_file_names_the_step_for_the_camera_module(
    tmp_path: Path, arch: str, included: bool, recommended: bool, sentence: str
) -> None:
    tree, site = tmp_path / "tree", tmp_path / "site"
    tree.mkdir()
    (site / "picamera2" if included else site).mkdir(parents=True)
    build_deb.copy_files(tree)
    build_deb.write_control(tree, "0.0.0+deb12", arch, "bookworm", build_deb.camera_of(arch, site))
    control = (tree / "DEBIAN" / "control").read_text()
    fields, _, description = control.partition("\nDescription:")
    (recommends,) = [line for line in fields.splitlines() if line.startswith("Recommends:")]
    assert ("python3-picamera2" in recommends) == recommended and "mosquitto" in recommends
    assert sentence in description and "@" not in control
    assert all(line.startswith(" ") for line in description.splitlines()[1:])


def test_the_error_of_a_missing_picamera2_names_the_same_step() -> None:
    error = not_installed(ImportError("No module named 'picamera2'", name="picamera2"))
    assert error.code == "camera_absent" and STEP in en(error.fix) and STEP in zh(error.fix)
