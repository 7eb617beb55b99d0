"""Parts of the Pi's camera backend: controls, sensor clock, errors."""

from __future__ import annotations

import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.camera.picamera.controls import (
    af_window,
    can_limit_rate,
    exposure_range,
    initial_controls,
    period_us,
)
from agent.camera.picamera.device import have_same_view, small_size
from agent.camera.picamera.errors import FOREIGN, absent_camera, from_foreign, not_installed, translate_errors
from agent.camera.picamera.formats import Layout
from agent.camera.picamera.sensor_clock import SensorClock
from agent.config import CameraConfig
from agent.errors import CameraError, Retry
from agent.root.cameras import make_camera
from agent.texts import Text
from tests.camera.clock import HandClock
from tests.camera.picamera.fake_picamera2 import AUTOFOCUS, PI_CONTROLS
from tests.texts import en, zh

PI = PI_CONTROLS | AUTOFOCUS

# --- controls -------------------------------------------------------------------------------------


@given(st.sets(st.sampled_from(sorted(PI))))
def test_nothing_is_set_that_is_not_offered(names: set[str]) -> None:
    offered = {name: PI[name] for name in names}
    assert set(initial_controls(offered, 10.0)) <= names


@pytest.mark.parametrize(
    ("limits", "fps", "period", "paced"),
    [
        pytest.param((8_000, 1_000_000, None), 10.0, 100_000, True, id="as configured"),
        pytest.param((33_333, 33_333, None), 10.0, 33_333, False, id="a camera with one rate"),
        pytest.param((50_000, 1_000_000, None), 60.0, 50_000, False, id="the camera's limit"),
        pytest.param((0, 0, None), 10.0, 0, False, id="limits of zero"),
        pytest.param((8_000, (), None), 10.0, 100_000, True, id="limits that are no numbers"),
    ],
)
def test_the_rate_is_what_the_camera_can_do(limits: Any, fps: float, period: int, paced: bool) -> None:
    offered = {"FrameDurationLimits": limits}
    assert (period_us(offered, fps), can_limit_rate(offered, fps)) == (period, paced)


def test_a_camera_without_a_rate_does_not_keep_pace() -> None:
    assert not can_limit_rate({}, 10.0)


@given(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(1, 5_000), st.integers(1, 5_000))
def test_the_focus_window_lies_within_what_the_picture_shows(x: int, y: int, wide: int, high: int) -> None:
    shown = (x, y, wide, high)
    window = af_window(AUTOFOCUS | {"ScalerCrop": ((0, 0, 1, 1), (0, 0, 10_000, 10_000), shown)})
    assert window is not None
    assert x <= window[0] and window[0] + window[2] <= x + wide
    assert y <= window[1] and window[1] + window[3] <= y + high


@pytest.mark.parametrize("crop", [None, (None, None, None), ((0, 0, 0, 0),) * 3])
def test_without_a_crop_there_is_no_focus_window(crop: Any) -> None:
    offered = dict(AUTOFOCUS) if crop is None else AUTOFOCUS | {"ScalerCrop": crop}
    assert af_window(offered) is None
    assert "AfMetering" not in initial_controls(offered, 10.0)


def test_the_exposure_range_is_the_cameras() -> None:
    assert exposure_range(PI) == (-8.0, 8.0)
    assert exposure_range({"ExposureValue": (-1, 1.5, 0)}) == (-1.0, 1.5)
    assert exposure_range({}) is None


# --- the small stream -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((1280, 720), (320, 180)),
        ((1920, 1080), (320, 180)),
        ((640, 480), (320, 240)),
        ((320, 240), None),
        ((4096, 64), None),
    ],
)
def test_the_small_stream_has_the_view_of_the_large_one(
    size: tuple[int, int], small: tuple[int, int] | None
) -> None:
    assert small_size(*size) == small
    if small is not None:
        assert have_same_view(Layout("YUV420", *small, 320), Layout("RGB888", *size, size[0] * 3))
    assert not have_same_view(Layout("YUV420", 320, 240, 320), Layout("RGB888", 1280, 720, 3840))


# --- the sensor's clock ---------------------------------------------------------------------------


def test_captured_ms_follows_the_stamp() -> None:
    clock = SensorClock(HandClock(10_000))
    assert clock.captured_ms(time.monotonic_ns()) in (9_999, 10_000)
    assert clock.captured_ms(time.monotonic_ns() - 300_000_000) in range(9_600, 9_701)
    assert clock.captured_ms(time.monotonic_ns() - 9_000_000_000) in range(500, 1_001), "a late frame is old"


def test_captured_ms_recognizes_a_stamp_on_the_boot_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.clock_gettime_ns
    slept_ns = 3_600_000_000_000

    def slept(source: int) -> int:
        return real(source) + (slept_ns if source == time.CLOCK_BOOTTIME else 0)

    monkeypatch.setattr(time, "clock_gettime_ns", slept)
    clock = SensorClock(HandClock(10_000))
    assert clock.captured_ms(slept(time.CLOCK_BOOTTIME) - 50_000_000) in range(9_900, 9_951)


@pytest.mark.parametrize("stamp", [None, True, "soon", 1.5])
def test_without_a_stamp_a_picture_counts_from_its_arrival(stamp: object) -> None:
    assert SensorClock(HandClock(10_000)).captured_ms(stamp) == 10_000


@pytest.mark.parametrize("stamp", [0, 10**19, -5])
def test_captured_ms_ignores_a_stamp_of_no_clock_after_three_frames(stamp: int) -> None:
    clock = SensorClock(HandClock(10_000))
    assert [clock.captured_ms(stamp) for _ in range(5)] == [None, None, None, 10_000, 10_000]


def test_an_old_picture_at_the_start_is_not_taken_for_another_clock() -> None:
    """On a busy machine the first frame can wait for seconds."""
    clock = SensorClock(HandClock(10_000))
    old = time.monotonic_ns() - 3_000_000_000
    assert clock.captured_ms(old) is None
    assert clock.captured_ms(time.monotonic_ns()) in (9_999, 10_000)
    assert clock.captured_ms(old) in range(6_000, 7_001), "the clock is known now"
    clock.begin()
    assert clock.captured_ms(old) is None


def test_captured_ms_is_never_in_the_future() -> None:
    clock = SensorClock(HandClock(10_000))
    clock.captured_ms(time.monotonic_ns())
    assert clock.captured_ms(time.monotonic_ns() + 10**12) == 10_000


# --- errors ---------------------------------------------------------------------------------------


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "fix"),
    [
        (RuntimeError("Failed to acquire camera: Device or resource busy"), "camera_busy", "fuser"),
        (
            chained(
                RuntimeError("Camera __init__ sequence did not complete."),
                RuntimeError("Pipeline handler in use by another process"),
            ),
            "camera_busy",
            "fuser",
        ),
        (
            RuntimeError("Camera(s) not found (Do not forget to disable legacy camera)"),
            "camera_absent",
            "cable",
        ),
        (PermissionError(13, "Permission denied"), "camera_denied", "group video"),
        (RuntimeError("Could not open any dmaHeap device"), "camera_unavailable", "dma_heap"),
        (RuntimeError("failed to allocate capture buffers for stream 0"), "camera_unavailable", "dma_heap"),
        (TimeoutError(), "camera_stalled", "cable"),
        (KeyError("ExposureTime"), "camera_unavailable", ""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_each_error_has_its_code_and_its_fix(error: Exception, code: str, fix: str) -> None:
    translation = from_foreign(error, "opening")
    assert translation.code == code and translation.retry is Retry.BACKOFF
    assert fix in en(translation.fix) and en(translation.fix) and zh(translation.fix)


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.__name__)
def test_translated_each_foreign_error_becomes_a_camera_error(
    kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CameraError) as caught, translate_errors("testing"):
        raise kind("odd")
    assert caught.value.__cause__ is not None
    is_deliberate = issubclass(kind, RuntimeError | OSError | MemoryError | CancelledError)
    assert ("Traceback" in caplog.text) != is_deliberate, "a possible bug is logged with its traceback"


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), CameraError("ours", code="camera_busy")])
def test_translated_bugs_and_agent_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translate_errors("testing"):
        raise error
    assert caught.value is error


def test_absent_denied_devices_differ_from_a_missing_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert absent_camera(Text("detail.libcamera_empty"), devices=tmp_path).code == "camera_absent"
    (tmp_path / "media0").touch()
    assert "cable" in en(absent_camera(Text("detail.libcamera_empty"), devices=tmp_path).fix)
    monkeypatch.setattr("os.access", lambda *_: False)
    denied = absent_camera(Text("detail.libcamera_empty"), devices=tmp_path)
    assert "group video" in en(denied.fix) and denied.code == "camera_denied"


def test_missing_picamera2_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError) as caught:
        make_camera(CameraConfig(kind="picamera2"), HandClock()).start()
    assert caught.value.code == "camera_absent" and caught.value.retry is Retry.NEVER
    assert "facepay-agent[terminal]" in en(caught.value.fix)


def test_missing_dependency_of_picamera2_is_named() -> None:
    assert "prctl" in str(not_installed(ImportError("No module named 'prctl'", name="prctl")))
    assert "apt-get install python3-libcamera" in en(not_installed(ImportError("no", name="libcamera")).fix)
    assert en(not_installed(ImportError("broken")).fix)


def test_library_is_imported_only_when_the_camera_is_opened() -> None:
    before = "picamera2" in sys.modules
    make_camera(CameraConfig(kind="picamera2"), HandClock())
    assert ("picamera2" in sys.modules) == before
