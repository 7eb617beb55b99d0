"""The V4L2 backend on a real kernel's device, with faults from its driver: `make test-vivid`. Optional.

vivid is no USB camera: no MJPG, no cable. The tests cover the kernel, OpenCV and the agent together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.vivid import needs_a_machine_with_a_camera, run_in_guest

pytestmark = pytest.mark.long

Report = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def report() -> Report:
    needs_a_machine_with_a_camera()
    return {row["step"]: row for row in run_in_guest(Path(__file__).with_name("vivid_guest.py"))}


def test_the_only_camera_gives_fresh_frames(report: Report) -> None:
    assert report["runs"]["frames"] == 10
    assert report["runs"]["oldest_ms"] < 2_000 and report["runs"]["codes"] == []


def test_grab_late_reader_gets_the_newest_frame(report: Report) -> None:
    assert report["late"]["age_ms"] < 1_000


@pytest.mark.parametrize("fault", ["disconnect", "inject_fatal_streaming_error"])
def test_source_recovers_after_a_stream_fault(report: Report, fault: str) -> None:
    assert report[fault]["frames"] == 3
    assert set(report[fault]["codes"]) <= {"camera_unavailable"}


def test_an_unplugged_camera_is_absent_until_it_is_plugged_in_again(report: Report) -> None:
    assert "camera_absent" in report["unplugged"]["codes"]
    assert report["unplugged"]["frames"] == 3


@pytest.mark.parametrize(
    ("step", "code", "text"),
    [
        ("busy", "camera_busy", "facepay doctor"),
        ("denied", "camera_denied", "usermod -aG video"),
        ("elsewhere", "camera_absent", "/dev/v4l/by-id"),
        ("no camera", "camera_unavailable", "camera"),
        ("size", "camera_unavailable", "camera.width_px = "),
    ],
)
def test_open_each_error_has_its_code_and_its_fix(report: Report, step: str, code: str, text: str) -> None:
    assert report[step]["code"] == code
    assert text in report[step]["fix"]
