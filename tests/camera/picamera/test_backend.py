"""The Pi's camera backend on a fake picamera2 with the leaks, stalls, failures and hangs of the real one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest

from agent import tasks
from agent.camera.picamera import backend as backend_module
from agent.camera.picamera import device as picamera_device
from agent.camera.picamera.backend import PicameraBackend
from agent.camera.recovery import STEP_MS
from agent.camera.source import NewestFrameSource
from agent.config import CameraConfig
from agent.core.model import FaceLight, Frame
from agent.errors import CameraError, Retry
from tests.camera.clock import HandClock, RunningClock
from tests.camera.picamera.fake_picamera2 import AUTOFOCUS, PI_CONTROLS, SimulatedHardware
from tests.texts import en

BUFFERS = 4


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits: the tests run into these time limits."""
    monkeypatch.setattr(picamera_device, "_WAIT_S", 0.1)
    monkeypatch.setattr(picamera_device, "_LATE_S", 0.1)


@pytest.fixture
def hardware() -> Iterator[SimulatedHardware]:
    made = SimulatedHardware()
    yield made
    made.driver_answers.set()


@pytest.fixture
def backend(hardware: SimulatedHardware) -> Iterator[PicameraBackend]:
    ready = backend_of(hardware)
    ready.open()
    yield ready
    hardware.driver_answers.set()
    ready.close()


def backend_of(hardware: SimulatedHardware, source: str = "") -> PicameraBackend:
    config = CameraConfig(kind="picamera2", source=source, width_px=640, height_px=360, fps=50)
    return PicameraBackend(config, RunningClock(), hardware.library)


def until(holds: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "the condition never became true"
        time.sleep(0.002)


def in_thread(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def frame_of(backend: PicameraBackend) -> Frame:
    """The result of ``grab`` in a thread: a ``grab`` that waits for ever fails the test."""
    try:
        return tasks.in_thread("grab", backend.grab).result(20)
    except FutureTimeout:
        raise AssertionError("grab waits for ever") from None


def remedy(backend: PicameraBackend, name: str) -> Callable[[], None]:
    return dict(backend.remedies)[name]


def number(frame: Frame) -> int:
    """The sensor's number of the frame, which each pixel carries."""
    assert isinstance(frame.pixels, np.ndarray)
    assert (frame.pixels == frame.pixels[0, 0, 0]).all(), "torn"
    return int(frame.pixels[0, 0, 0])


# --- frames ---------------------------------------------------------------------------------------


def test_frames_are_copies_with_the_time_the_sensor_took_them(backend: PicameraBackend) -> None:
    before_ms = RunningClock().now_ms()
    first = frame_of(backend)
    expected = number(first)
    seqs = [frame_of(backend).seq for _ in range(2 * BUFFERS)]
    assert seqs == list(range(first.seq + 1, first.seq + 1 + 2 * BUFFERS))
    assert number(first) == expected, "the frame is a view of a reused buffer"
    assert before_ms <= first.captured_ms <= RunningClock().now_ms()


def test_both_streams_come_without_the_padding_of_their_rows(backend: PicameraBackend) -> None:
    frame = frame_of(backend)
    assert isinstance(frame.pixels, np.ndarray) and isinstance(frame.small, np.ndarray)
    assert (frame.width_px, frame.height_px) == (640, 360)
    assert frame.pixels.shape == (360, 640, 3) and frame.pixels.flags.c_contiguous
    assert frame.small.shape == (180, 320, 3)


def test_camera_is_configured_once_with_four_buffers_and_no_queue(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    frame_of(backend)
    remedy(backend, "restart")()
    frame_of(backend)
    configured = hardware.camera.camera_configuration()
    assert (configured["buffer_count"], configured["queue"], configured["raw"]) == (4, False, None)
    assert len(hardware.made) == hardware.camera.configure_count == 1


def test_a_camera_with_nv12_only_is_converted(hardware: SimulatedHardware) -> None:
    hardware.formats = ("NV12", "NV12")
    backend = backend_of(hardware)
    backend.open()
    frame = frame_of(backend)
    assert isinstance(frame.pixels, np.ndarray) and frame.pixels.shape == (360, 640, 3)
    backend.close()


def test_a_small_stream_with_another_view_is_not_used(hardware: SimulatedHardware) -> None:
    hardware.lores_size = (320, 240)
    backend = backend_of(hardware)
    backend.open()
    assert frame_of(backend).small is None
    backend.close()


def test_open_unknown_format_is_an_error_and_leaves_nothing_open(hardware: SimulatedHardware) -> None:
    hardware.formats = ("MJPEG", "YUV420")
    with pytest.raises(CameraError, match="MJPEG") as caught:
        backend_of(hardware).open()
    assert "v4l2" in en(caught.value.fix)
    assert not hardware.camera.is_open


def test_grab_finite_metadata_is_part_of_the_frame(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    hardware.metadata = {
        "ExposureTime": 9_985,
        "Lux": float("nan"),
        "ScalerCrop": (0, 0, 1, 1),
        "AnalogueGain": 2.5,
    }
    assert frame_of(backend).metadata == {"ExposureTime": 9_985.0, "AnalogueGain": 2.5}


def test_grab_without_a_stamp_the_capture_time_is_the_arrival(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    hardware.stamps = False
    called_ms = RunningClock().now_ms()
    assert frame_of(backend).captured_ms >= called_ms


def test_with_stamps_of_an_unknown_clock_the_first_pictures_are_not_used(
    hardware: SimulatedHardware, backend: PicameraBackend, caplog: pytest.LogCaptureFixture
) -> None:
    hardware.metadata = {"SensorTimestamp": 12_345}
    frame_of(backend)
    until(all_free(hardware))
    assert "sensor_clock_unknown" in caplog.text


def test_closing_ends_a_reader_that_waits_for_its_turn(hardware: SimulatedHardware) -> None:
    """A camera without an adjustable rate is read at the configured rate."""
    hardware.controls = {"FrameDurationLimits": (33_333, 33_333, None)}
    backend = PicameraBackend(CameraConfig(kind="picamera2", fps=0.05), RunningClock(), hardware.library)
    backend.open()
    frame_of(backend)
    ended: list[CameraError] = []

    def read() -> None:
        with pytest.raises(CameraError, match="closed") as caught:
            while True:
                backend.grab()
        ended.append(caught.value)

    reader = in_thread(read)
    time.sleep(0.05)
    backend.close()
    reader.join(20)
    assert ended[0].retry is Retry.BACKOFF, "it may be opened again"


# --- buffers --------------------------------------------------------------------------------------


def all_free(hardware: SimulatedHardware) -> Callable[[], bool]:
    """A check that no buffer is held, while the sensor is silent."""
    hardware.is_silent = True
    return lambda: len(hardware.camera.free) == BUFFERS


def silence(hardware: SimulatedHardware) -> None:
    """Make the sensor silent, and wait until no frame is on its way."""
    hardware.rests.clear()
    is_free = all_free(hardware)
    assert hardware.rests.wait(60)
    until(is_free)


def test_fake_capture_that_times_out_keeps_its_buffer(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    """The leak of a caller that does not cancel: proof that the fake reproduces the trap."""
    silence(hardware)
    for _ in range(3):
        with pytest.raises(FutureTimeout):
            hardware.camera.capture_request(wait=0.01)
    hardware.is_silent = False
    until(lambda: hardware.camera._number > 20)
    assert not all_free(hardware)()
    until(lambda: len(hardware.camera.free) == BUFFERS - 3)


def test_time_outs_leak_no_buffer(hardware: SimulatedHardware, backend: PicameraBackend) -> None:
    silence(hardware)
    frames: list[Frame] = []
    waiting = in_thread(lambda: frames.append(backend.grab()))
    time.sleep(0.5)  # five time-outs
    hardware.is_silent = False
    waiting.join(20)
    assert len(frames) == 1
    until(all_free(hardware))


def test_grab_request_that_completes_during_cancelling_is_used(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    silence(hardware)

    def complete() -> None:
        hardware.before_cancel = lambda: None
        hardware.is_silent = False
        until(lambda: not hardware.camera._jobs)
        hardware.is_silent = True

    hardware.before_cancel = complete
    frame_of(backend)
    until(all_free(hardware))


def test_grab_request_that_completes_after_cancelling_releases_its_buffer(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    silence(hardware)
    delivered = threading.Event()

    def complete_without_delivery() -> None:
        hardware.before_cancel = lambda: None
        hardware.before_answer = lambda: (delivered.wait(60), None)[1]
        hardware.is_silent = False
        until(lambda: not hardware.camera._jobs)

    hardware.before_cancel = complete_without_delivery
    frames: list[Frame] = []
    waiting = in_thread(lambda: frames.append(backend.grab()))
    time.sleep(0.6)
    assert not frames
    hardware.before_answer = lambda: None
    delivered.set()
    waiting.join(20)
    assert frames
    frame_of(backend)
    until(all_free(hardware))


def test_fake_with_kept_requests_delivers_no_frame(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    kept = [hardware.camera.capture_request(wait=1.0) for _ in range(BUFFERS)]
    with pytest.raises(FutureTimeout):
        hardware.camera.capture_request(wait=0.05)
    hardware.camera.cancel_all_and_flush()
    for request in kept:
        request.release()
    frame_of(backend)


def test_frames_may_be_kept_for_ever(hardware: SimulatedHardware, backend: PicameraBackend) -> None:
    kept = [frame_of(backend) for _ in range(5 * BUFFERS)]
    assert len({number(frame) for frame in kept}) == len(kept)
    until(all_free(hardware))


def test_grab_unreadable_pixels_release_their_buffer(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    def unreadable() -> None:
        raise OSError("dma buf")

    hardware.while_mapped = unreadable
    for _ in range(2 * BUFFERS):
        with pytest.raises(CameraError, match="dma buf"):
            frame_of(backend)
    until(all_free(hardware))


# --- silence, failure, hanging --------------------------------------------------------------------


def test_restart_ends_a_stall_of_cancelled_requests(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    frame_of(backend)
    hardware.cancels = True
    until(lambda: hardware.cancelled == BUFFERS)
    frames: list[Frame] = []
    waiting = in_thread(lambda: frames.append(backend.grab()))
    hardware.cancels = False
    remedy(backend, "cancel")()
    time.sleep(0.3)
    assert not frames, "cancelling alone does not free such buffers"
    remedy(backend, "restart")()
    waiting.join(20)
    assert len(frames) == 1 and hardware.camera.configure_count == 1


def test_fake_stop_waits_for_ever_for_an_ended_event_loop(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    end_loop_in_callback(hardware)
    assert not wait([tasks.in_thread("stop", hardware.camera.stop)], 0.2).done


def test_restart_replaces_an_ended_event_loop(hardware: SimulatedHardware, backend: PicameraBackend) -> None:
    end_loop_in_callback(hardware)
    frames: list[Frame] = []
    waiting = in_thread(lambda: frames.append(backend.grab()))
    time.sleep(0.3)
    assert not frames
    remedy(backend, "restart")()
    waiting.join(20)
    assert len(frames) == 1


def test_close_and_open_work_after_the_event_loop_has_ended(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    end_loop_in_callback(hardware)
    backend.close()
    backend.open()
    assert frame_of(backend).seq == 1
    assert len(hardware.made) == 2 and not hardware.made[0].is_open


def end_loop_in_callback(hardware: SimulatedHardware) -> None:
    def raising(request: object) -> None:
        raise ValueError("in a callback")

    hardware.camera.pre_callback = raising
    loop = hardware.camera._loop
    assert loop is not None
    loop.join(20)
    hardware.camera.pre_callback = None


def test_close_that_hangs_is_abandoned_and_open_fails_until_it_returns(
    hardware: SimulatedHardware,
    backend: PicameraBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(backend_module, "_CLOSE_S", 0.1)
    frame_of(backend)
    hardware.driver_answers.clear()
    backend.close()
    assert "camera_close_abandoned" in caplog.text
    with pytest.raises(CameraError, match="driver hangs") as caught:
        backend.open()
    assert caught.value.code == "camera_stalled" and caught.value.retry is Retry.BACKOFF
    hardware.driver_answers.set()
    until(lambda: not hardware.camera.is_open)
    until(lambda: backend._closing is not None and backend._closing.done())
    backend.open()
    assert frame_of(backend).seq == 2


def test_process_with_a_hanging_camera_ends() -> None:
    """The library closes its cameras again at the interpreter's exit."""
    hanging = """
from tests.camera.picamera import test_backend as kit
hardware = kit.SimulatedHardware()
backend = kit.backend_of(hardware)
backend.open()
hardware.driver_answers.clear()
kit.in_thread(kit.remedy(backend, "restart"))
kit.until(lambda: hardware.camera._loop is None)
kit.backend_module._CLOSE_S = 0.1
backend.close()
"""
    subprocess.run([sys.executable, "-c", hanging], check=True, timeout=60)


def test_restart_that_hangs_blocks_neither_grab_nor_close(
    hardware: SimulatedHardware, backend: PicameraBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "_CLOSE_S", 0.1)
    hardware.driver_answers.clear()
    restart = in_thread(remedy(backend, "restart"))
    until(lambda: hardware.camera._loop is None)
    ended: list[CameraError] = []

    def read() -> None:
        try:
            while True:
                backend.grab()
        except CameraError as error:
            ended.append(error)

    reader = in_thread(read)
    time.sleep(0.2)
    backend.close()
    reader.join(20)
    assert ended and restart.is_alive()
    hardware.driver_answers.set()
    restart.join(20)


def test_closing_ends_a_waiting_reader(hardware: SimulatedHardware, backend: PicameraBackend) -> None:
    silence(hardware)
    ended: list[CameraError] = []

    def read() -> None:
        with pytest.raises(CameraError, match="closed") as caught:
            while True:
                backend.grab()
        ended.append(caught.value)

    reader = in_thread(read)
    time.sleep(0.02)
    backend.close()
    backend.close()
    reader.join(20)
    assert ended[0].retry is Retry.BACKOFF


def test_restart_after_close_has_no_effect(hardware: SimulatedHardware, backend: PicameraBackend) -> None:
    device = backend._device
    assert device is not None
    backend.close()
    device.restart()
    assert not hardware.camera.started and not hardware.camera.is_open


# --- torn pictures --------------------------------------------------------------------------------


def test_restart_waits_while_pixels_are_read(hardware: SimulatedHardware, backend: PicameraBackend) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        reading.set()
        go_on.wait(60)

    hardware.while_mapped = slow
    frames: list[Frame] = []
    reader = in_thread(lambda: frames.append(backend.grab()))
    assert reading.wait(60)
    restart = in_thread(remedy(backend, "restart"))
    time.sleep(0.1)
    assert hardware.camera.stop_count == 0
    hardware.while_mapped = lambda: None
    go_on.set()
    reader.join(20)
    restart.join(20)
    assert hardware.camera.stop_count == 1
    number(frames[0])


def test_grab_request_from_before_a_restart_is_not_read(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    before: list[int] = []

    def restart_during_the_wait() -> None:
        hardware.after_wait = lambda: None
        before.append(hardware.camera._number)
        remedy(backend, "restart")()

    hardware.after_wait = restart_during_the_wait
    assert number(frame_of(backend)) > before[0]
    assert hardware.camera.stop_count == 1
    until(all_free(hardware))


# --- opening --------------------------------------------------------------------------------------


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_open_busy_camera_is_an_error_and_leaks_no_file(hardware: SimulatedHardware) -> None:
    hardware.open_error = RuntimeError("failed to acquire camera: Device or resource busy")
    before = open_files()
    for _ in range(5):
        with pytest.raises(CameraError) as caught:
            backend_of(hardware).open()
        assert caught.value.code == "camera_busy" and "fuser" in en(caught.value.fix)
    assert open_files() == before


def test_open_failed_configuration_closes_the_camera(hardware: SimulatedHardware) -> None:
    hardware.configure_error = RuntimeError("Invalid camera configuration")
    before = open_files()
    with pytest.raises(CameraError, match="Invalid camera configuration"):
        backend_of(hardware).open()
    assert not hardware.camera.is_open and open_files() == before


def test_open_without_a_camera_is_an_error(hardware: SimulatedHardware) -> None:
    hardware.cameras = []
    with pytest.raises(CameraError, match="lists no camera") as caught:
        backend_of(hardware).open()
    assert caught.value.code == "camera_absent" and not hardware.made


@pytest.mark.parametrize(("source", "chosen"), [("", 0), ("1", 1), ("imx219", 1), ("/base/i2c/imx708@1a", 0)])
def test_one_of_two_cameras_is_chosen(hardware: SimulatedHardware, source: str, chosen: int) -> None:
    hardware.cameras.append({"Model": "imx219", "Id": "/base/i2c/imx219@10", "Num": 1})
    backend = backend_of(hardware, source)
    backend.open()
    assert hardware.camera.camera_num == chosen
    backend.close()


def test_open_missing_camera_lists_the_present_cameras(hardware: SimulatedHardware) -> None:
    with pytest.raises(CameraError, match=r"imx477.*0 \(imx708\)"):
        backend_of(hardware, "imx477").open()


def test_camera_without_controls_gets_no_control(hardware: SimulatedHardware) -> None:
    hardware.controls = {}
    backend = backend_of(hardware)
    backend.open()
    backend.adapt_exposure(FaceLight(1, 10.0, 0.0))
    frame_of(backend)
    backend.close()
    assert hardware.applied == []


@pytest.mark.parametrize("more", [{}, AUTOFOCUS])
def test_open_sets_offered_controls_only(
    hardware: SimulatedHardware, more: dict[str, tuple[object, object, object]]
) -> None:
    hardware.controls = PI_CONTROLS | more
    backend = backend_of(hardware)
    backend.open()
    backend.close()
    assert ("AfWindows" in hardware.applied[0]) == bool(more)
    assert hardware.applied[0]["FrameDurationLimits"] == (20_000, 20_000)


# --- exposing for the face ------------------------------------------------------------------------


def test_expose_dark_face_raises_exposure_until_the_verification_ends(
    hardware: SimulatedHardware, backend: PicameraBackend
) -> None:
    backend.adapt_exposure(FaceLight(1, 30.0, 0.0))
    frame_of(backend)
    until(lambda: "ExposureValue" in hardware.applied[-1])
    assert hardware.applied[-1] == {"ExposureValue": 0.5}
    backend.adapt_exposure(None)
    frame_of(backend)
    until(lambda: hardware.applied[-1] == {"ExposureValue": 0.0})


def test_expose_lost_control_is_set_again(hardware: SimulatedHardware, backend: PicameraBackend) -> None:
    hardware.lost_controls = 2
    backend.adapt_exposure(FaceLight(1, 30.0, 0.0))
    for _ in range(3):
        frame_of(backend)
    until(lambda: hardware.applied[-1] == {"ExposureValue": 0.5})


def test_a_restart_keeps_the_exposure(hardware: SimulatedHardware, backend: PicameraBackend) -> None:
    backend.adapt_exposure(FaceLight(1, 30.0, 0.0))
    frame_of(backend)
    remedy(backend, "restart")()
    for _ in range(6):
        frame_of(backend)
    restarts = [number for number, controls in enumerate(hardware.applied) if "AeEnable" in controls]
    assert {"ExposureValue": 0.5} in hardware.applied[restarts[-1] + 1 :]


# --- as the terminal's camera ---------------------------------------------------------------------


async def test_source_recovers_a_silent_camera_without_opening_it_again(hardware: SimulatedHardware) -> None:
    clock = HandClock()
    camera = NewestFrameSource(
        PicameraBackend(CameraConfig(kind="picamera2"), clock, hardware.library), clock, stall_ms=300
    )
    camera.start()
    async with asyncio.timeout(60):
        seq = (await camera.next_frame(0)).seq
        hardware.cancels = True
        await asyncio.to_thread(until, lambda: hardware.cancelled == BUFFERS)
        hardware.cancels = False
        for waited_ms in (300, STEP_MS):  # the remedies are due in turn: cancel, restart
            clock.at_ms += waited_ms
            with pytest.raises(CameraError) as caught:
                await camera.next_frame(seq)
            assert caught.value.code == "camera_stalled"
        await asyncio.to_thread(until, lambda: hardware.camera.stop_count == 1)
        await recovered(camera, seq)
    camera.stop()
    assert len(hardware.made) == hardware.camera.configure_count == 1


async def recovered(camera: NewestFrameSource, seq: int) -> Frame:
    while True:
        try:
            return await camera.next_frame(seq)
        except CameraError:
            await asyncio.sleep(0.01)


async def test_source_delivers_increasing_numbers(hardware: SimulatedHardware) -> None:
    camera = NewestFrameSource(backend_of(hardware), RunningClock(), stall_ms=60_000)
    camera.start()
    seq = 0
    async with asyncio.timeout(60):
        for _ in range(5):
            frame = await camera.next_frame(seq)
            assert frame.seq > seq
            seq = frame.seq
    camera.stop()
    assert not hardware.camera.is_open


async def test_the_light_on_a_face_reaches_the_camera(hardware: SimulatedHardware) -> None:
    camera = NewestFrameSource(backend_of(hardware), RunningClock(), stall_ms=60_000)
    camera.start()
    camera.adapt_exposure(FaceLight(1, 30.0, 0.0))
    await asyncio.to_thread(until, lambda: hardware.applied[-1] == {"ExposureValue": 0.5})
    camera.stop()
