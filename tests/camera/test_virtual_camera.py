"""The real picamera2 and the real libcamera through our grabber, on libcamera's virtual camera: no hardware.

In a Debian 13 of its own, with libcamera of its backports: the version of Debian 13 itself fills in no frame
metadata, and picamera2 then drops every frame. What it cannot show is a Pi: its frames come unpaced, in NV12
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

from agent.camera.fitting import fitted
from agent.camera.picamera.controls import wanted
from tests import debian
from tests.camera.picamera.fake_picamera2 import AUTOFOCUS, PI_CONTROLS
from tests.debian import Debian, run

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
STAGE = Path(__file__).parent / "virtual"
RELEASE = "trixie"
DEBOOTSTRAP = "python3,python3-venv,python3-numpy,ca-certificates"
BACKPORTS = ("python3-libcamera", "libcamera-ipa")
BUILD = ("build-essential", "python3-dev", "libcap-dev", "libarchive13t64", "python3-prctl")
PYTHON = "/opt/camera/bin/python"


def needs_a_debian_with_libcamera() -> None:
    """Skip where it cannot be made, with the reason. Past this point a failed set-up is a failure."""
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
    return debian.kept(f"{RELEASE}-camera-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:8]}")


@cache
def system() -> Debian:
    """The Debian with libcamera and picamera2, kept for the next run; this run's package goes into it."""
    if not base().exists():
        with debian.made_anew(base()) as partial:
            build(Debian(partial))
    made = Debian(base())
    stage = made.file("/opt/stage")
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(STAGE, stage / "tests" / "camera" / "virtual")
    (stage / "frames").mkdir()
    photo = cv2.imread(str(ROOT / "agent" / "data" / "photos" / "obama_podium.jpg"))
    assert photo is not None
    cv2.imwrite(str(stage / "frames" / "0.jpg"), fitted(photo, 1280, 720, "photo"))
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
    """Some minutes, once."""
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
def told() -> dict[str, Any]:
    """What the story inside said."""
    needs_a_debian_with_libcamera()
    settings = ("LIBCAMERA_LOG_LEVELS=ERROR", "LD_PRELOAD=/opt/dma_heap.so", "PYTHONPATH=/opt/stage")
    said = system().run("env", *settings, PYTHON, "-m", "tests.camera.virtual.story")
    facts: dict[str, Any] = json.loads(said.splitlines()[-1])
    return facts


def test_the_library_is_the_real_one(told: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    version = told["versions"]["libcamera"]
    assert re.match(r"v0\.[5-9]", version) and told["versions"]["listed"] == ["bars", "person"]
    with capsys.disabled():
        median = told["two_streams"]["grab_ms_median"]
        print(f"\nlibcamera {version}: one grab of two streams, unpaced, {median} ms (median of 50)")


def test_two_streams_of_one_view(told: dict[str, Any]) -> None:
    two = told["two_streams"]
    assert two["shapes"] == [[720, 1280, 3], [180, 320, 3]]
    assert (two["buffer_count"], two["queue"], two["raw"]) == (4, False, None)
    assert two["seqs"] == list(range(1, 61))
    assert two["colours"] > 5, "the bars are not there"
    assert told["face"]["views_differ_by"] < 8


def test_the_age_of_a_picture_is_known(told: dict[str, Any]) -> None:
    assert 0 <= told["two_streams"]["youngest_ms"] <= told["two_streams"]["oldest_ms"] < 1_000


def test_time_outs_leak_nothing_and_would_if_they_were_not_cancelled(told: dict[str, Any]) -> None:
    assert told["buffers"] == {
        "timed_out": [None, None, None],
        "free_after_ours": 4,
        "free_after_theirs": 1,
        "free_after_restart": 4,
    }


def test_a_dead_event_loop_heals_without_opening_again(told: dict[str, Any]) -> None:
    assert told["dead_event_loop"] == {"silent": True, "frames_after_restart": 1, "configured": 1}


def test_opening_again_costs_no_file_and_no_thread(told: dict[str, Any]) -> None:
    again = told["reopened"]
    assert (again["more_files"], again["more_threads"]) == (0, 0)
    assert again["seqs"] == list(range(2, 12))
    assert again["slowest_close_s"] < 1.5


def test_a_camera_that_is_not_there_is_named(told: dict[str, Any]) -> None:
    assert told["wrong_source"]["code"] == "camera_absent"
    assert "bars" in told["wrong_source"]["said"]


def test_a_face_is_found_in_its_pictures(told: dict[str, Any]) -> None:
    assert told["face"]["reason"] == "shot", told["face"]
    x_px, y_px = told["face"]["centre"]
    assert abs(x_px - 640) < 150 and abs(y_px - 300) < 150


def test_the_agent_has_it_as_its_camera(told: dict[str, Any]) -> None:
    assert told["terminal_camera"]["ascending"]


def test_the_agent_heals_its_camera_without_opening_it_again(
    told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    healed = told["heals_by_itself"]
    assert healed["healed"] and healed["codes"] == ["camera_stalled"]
    assert (healed["same"], healed["configured"]) == (True, 1)
    with capsys.disabled():
        print(f"\na dead event loop: pictures again after {healed['took_s']} s, stall_ms = 2000")


def test_our_numbers_for_its_enumerations_are_its_own(told: dict[str, Any]) -> None:
    assert told["numbers"] == {"AE_SHORT": 1, "AF_CONTINUOUS": 2, "AF_FAST": 1, "AF_WINDOWS": 1}


def test_the_controls_we_set_are_controls(told: dict[str, Any]) -> None:
    names = {*wanted(PI_CONTROLS | AUTOFOCUS, 10.0), "ExposureValue"}
    assert names <= set(told["control_names"])


def test_a_stop_that_hangs_is_left_and_the_process_ends(told: dict[str, Any]) -> None:
    left = told["hanging_stop"]
    assert left["bound_s"] <= left["close_s"] < left["bound_s"] + 1
    assert left["then"] == "camera_stalled"
