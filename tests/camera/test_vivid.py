"""Our V4L2 camera on a real kernel's device, with faults its driver can inject: `make test-vivid`. Optional.

vivid is no USB camera: no MJPG, no cable. What is shown is what the kernel, OpenCV and we do together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.vivid import needs_a_machine_with_a_camera, told_by

pytestmark = pytest.mark.long

Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def told() -> Told:
    needs_a_machine_with_a_camera()
    return {row["step"]: row for row in told_by(Path(__file__).with_name("vivid_guest.py"))}


def test_the_only_camera_gives_fresh_frames(told: Told) -> None:
    assert told["runs"]["frames"] == 10
    assert told["runs"]["oldest_ms"] < 2_000 and told["runs"]["codes"] == []


def test_whoever_comes_late_gets_the_newest_frame_not_the_one_that_waited(told: Told) -> None:
    assert told["late"]["age_ms"] < 1_000


@pytest.mark.parametrize("fault", ["disconnect", "inject_fatal_streaming_error"])
def test_a_stream_that_breaks_off_comes_back(told: Told, fault: str) -> None:
    assert told[fault]["frames"] == 3
    assert set(told[fault]["codes"]) <= {"camera_unavailable"}


def test_an_unplugged_camera_is_absent_until_it_is_plugged_in_again(told: Told) -> None:
    assert "camera_absent" in told["unplugged"]["codes"]
    assert told["unplugged"]["frames"] == 3


@pytest.mark.parametrize(
    ("step", "code", "words"),
    [
        ("busy", "camera_busy", "facepay doctor"),
        ("denied", "camera_denied", "usermod -aG video"),
        ("elsewhere", "camera_absent", "/dev/v4l/by-id"),
        ("no camera", "camera_unavailable", "camera"),
        ("size", "camera_unavailable", "camera.width_px = "),
    ],
)
def test_each_trouble_has_its_code_and_its_fix(told: Told, step: str, code: str, words: str) -> None:
    assert told[step]["code"] == code
    assert words in told[step]["fix"]
