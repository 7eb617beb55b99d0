"""The backend with the real picamera2 and the real libcamera, on libcamera's virtual camera: no hardware.

In a separate Debian 13 with libcamera from backports: the version of Debian 13 fills in no frame metadata,
and picamera2 then drops each frame. Not covered: a Pi. The virtual camera delivers unpaced frames, in NV12
only, without a sensor and its controls.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import pytest

from agent.camera.fitting import fit_to_size
from agent.camera.picamera.controls import initial_controls
from tests import debian
from tests.camera.picamera.fake_picamera2 import AUTOFOCUS, PI_CONTROLS
from tests.debian import Debian, run
from tests.stored import kept, stored

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
STAGE = Path(__file__).parent / "virtual"
RELEASE = "trixie"
DEBOOTSTRAP = "python3,python3-venv,python3-numpy,ca-certificates"
BACKPORTS = ("python3-libcamera", "libcamera-ipa")
BUILD = ("build-essential", "python3-dev", "libcap-dev", "libarchive13t64", "python3-prctl")
PYTHON = "/opt/camera/bin/python"


def needs_a_debian_with_libcamera() -> None:
    """Skip with the reason where it cannot be made. After this check a failed set-up is a failure."""
    if os.geteuid() != 0:
        pytest.skip("needs root: debootstrap, chroot")
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap: run `make test-camera` as root")
    if not base().exists() and not debian.mirror():
        pytest.skip("needs a Debian mirror in apt's sources")


def dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    library = project["optional-dependencies"]["terminal"][0].split(";")[0]
    return [library, *project["dependencies"]]


def base() -> Path:
    recipe = (DEBOOTSTRAP, *BACKPORTS, *BUILD, *dependencies(), (STAGE / "dma_heap.c").read_text())
    return kept(f"{RELEASE}-camera-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:8]}")


@cache
def system() -> Debian:
    """The Debian with libcamera and picamera2, stored for the next run, with this run's package."""
    made = Debian(stored(base(), lambda partial: build(Debian(partial))))
    stage = made.file("/opt/stage")
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(STAGE, stage / "tests" / "camera" / "virtual")
    (stage / "frames").mkdir()
    photo = cv2.imread(str(ROOT / "agent" / "data" / "photos" / "obama_podium.jpg"))
    assert photo is not None
    cv2.imwrite(str(stage / "frames" / "0.jpg"), fit_to_size(photo, 1280, 720, "photo"))
    cameras = made.file("/usr/share/libcamera/pipeline/virtual")
    cameras.mkdir(parents=True, exist_ok=True)
    shutil.copy(STAGE / "virtual.yaml", cameras)
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
        (wheel,) = Path(folder).glob("*.whl")
        shutil.copy(wheel, stage)
    made.run(
        PYTHON,
        *("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--force-reinstall"),
        f"/opt/stage/{wheel.name}",
    )
    return made


def build(fresh: Debian) -> None:
    """Install the system; takes some minutes, once."""
    root, mirror = fresh.root, debian.mirror()
    run("debootstrap", "--variant=minbase", f"--include={DEBOOTSTRAP}", RELEASE, root, mirror, timeout_s=900)
    for name in ("resolv.conf", "hosts", "ssl/certs/ca-certificates.crt"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), root / "etc" / name)
    backports = f"{RELEASE}-backports"
    fresh.file("/etc/apt/sources.list.d/backports.list").write_text(f"deb {mirror} {backports} main\n")
    install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends")
    fresh.run("apt-get", "update", "-qq")
    fresh.run(*install, "-t", backports, *BACKPORTS)
    fresh.run(*install, *BUILD)
    fresh.run("python3", "-m", "venv", "--system-site-packages", "/opt/camera")
    fresh.run(PYTHON, "-m", "pip", "install", "-q", *dependencies())
    shutil.copy(STAGE / "dma_heap.c", root / "opt")
    fresh.run("gcc", "-shared", "-fPIC", "-O2", "-Wall", "-o", "/opt/dma_heap.so", "/opt/dma_heap.c")
    fresh.run("apt-get", "clean")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """The JSON output of virtual/guest.py."""
    needs_a_debian_with_libcamera()
    settings = ("LIBCAMERA_LOG_LEVELS=ERROR", "LD_PRELOAD=/opt/dma_heap.so", "PYTHONPATH=/opt/stage")
    output = system().run("env", *settings, PYTHON, "-m", "tests.camera.virtual.guest")
    facts: dict[str, Any] = json.loads(output.splitlines()[-1])
    return facts


def test_the_library_is_the_real_one(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    version = report["versions"]["libcamera"]
    assert re.match(r"v0\.[5-9]", version) and report["versions"]["listed"] == ["bars", "person"]
    with capsys.disabled():
        median = report["two_streams"]["grab_ms_median"]
        print(f"\nlibcamera {version}: one grab of two streams, unpaced, {median} ms (median of 50)")


def test_two_streams_of_one_view(report: dict[str, Any]) -> None:
    two = report["two_streams"]
    assert two["shapes"] == [[720, 1280, 3], [180, 320, 3]]
    assert (two["buffer_count"], two["queue"], two["raw"]) == (4, False, None)
    assert two["seqs"] == list(range(1, 61))
    assert two["colours"] > 5, "the frame shows no bars"
    assert report["face"]["views_differ_by"] < 8


def test_the_age_of_a_picture_is_known(report: dict[str, Any]) -> None:
    assert 0 <= report["two_streams"]["youngest_ms"] <= report["two_streams"]["oldest_ms"] < 1_000


def test_take_time_outs_leak_no_buffer_because_of_the_cancelling(report: dict[str, Any]) -> None:
    assert report["buffers"] == {
        "timed_out": [None, None, None],
        "free_after_ours": 4,
        "free_after_theirs": 1,
        "free_after_restart": 4,
    }


def test_restart_replaces_an_ended_event_loop(report: dict[str, Any]) -> None:
    assert report["ended_event_loop"] == {"silent": True, "frames_after_restart": 1, "configured": 1}


def test_open_again_leaks_no_file_and_no_thread(report: dict[str, Any]) -> None:
    again = report["reopened"]
    assert (again["more_files"], again["more_threads"]) == (0, 0)
    assert again["seqs"] == list(range(2, 12))
    assert again["slowest_close_s"] < 1.5


def test_open_missing_camera_lists_the_present_cameras(report: dict[str, Any]) -> None:
    assert report["wrong_source"]["code"] == "camera_absent"
    assert "bars" in report["wrong_source"]["message"]


def test_face_is_detected_in_a_frame(report: dict[str, Any]) -> None:
    assert report["face"]["reason"] == "shot", report["face"]
    x_px, y_px = report["face"]["centre"]
    assert abs(x_px - 640) < 150 and abs(y_px - 300) < 150


def test_factory_camera_delivers_increasing_numbers(report: dict[str, Any]) -> None:
    assert report["terminal_camera"]["ascending"]


def test_source_recovers_its_camera_without_opening_it_again(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    recovered = report["recovery"]
    assert recovered["recovered"] and recovered["codes"] == ["camera_stalled"]
    assert (recovered["same"], recovered["configured"]) == (True, 1)
    with capsys.disabled():
        print(f"\nan ended event loop: frames again after {recovered['took_s']} s, stall_ms = 2000")


def test_enumeration_numbers_are_those_of_libcamera(report: dict[str, Any]) -> None:
    assert report["numbers"] == {"AE_SHORT": 1, "AF_CONTINUOUS": 2, "AF_FAST": 1, "AF_WINDOWS": 1}


def test_each_set_control_exists_in_libcamera(report: dict[str, Any]) -> None:
    names = {*initial_controls(PI_CONTROLS | AUTOFOCUS, 10.0), "ExposureValue"}
    assert names <= set(report["control_names"])


def test_close_that_hangs_is_abandoned_and_the_process_ends(report: dict[str, Any]) -> None:
    hanging = report["hanging_stop"]
    assert hanging["bound_s"] <= hanging["close_s"] < hanging["bound_s"] + 1
    assert hanging["then"] == "camera_stalled"
