"""The Pi's camera on a picamera2 that leaks, stalls, dies and hangs as the real one does."""

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
from agent.camera.picamera import backend
from agent.camera.picamera import device as picamera_device
from agent.camera.picamera.backend import PicameraBackend
from agent.camera.recovery import STEP_MS
from agent.camera.source import NewestFrameSource
from agent.config import CameraConfig
from agent.core.model import FaceLight, Frame
from agent.errors import CameraError, Retry
from tests.camera.clock import HandClock, RunningClock
from tests.camera.picamera.fake_picamera2 import AUTOFOCUS, PI_CONTROLS, World
from tests.texts import en

BUFFERS = 4


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits: they are there to be used up here."""
    monkeypatch.setattr(picamera_device, "_WAIT_S", 0.1)
    monkeypatch.setattr(picamera_device, "_LATE_S", 0.1)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.driver_answers.set()


@pytest.fixture
def grabber(world: World) -> Iterator[PicameraBackend]:
    ready = grabber_of(world)
    ready.open()
    yield ready
    world.driver_answers.set()
    ready.close()


def grabber_of(world: World, source: str = "") -> PicameraBackend:
    config = CameraConfig(kind="picamera2", source=source, width_px=640, height_px=360, fps=50)
    return PicameraBackend(config, RunningClock(), world.library)


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.002)


def in_thread(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def frame_of(grabber: PicameraBackend) -> Frame:
    """What ``grab`` gives, in a thread: a reader that waits for ever fails the test instead of hanging it."""
    got: list[Frame | Exception] = []

    def read() -> None:
        try:
            got.append(grabber.grab())
        except CameraError as error:
            got.append(error)

    in_thread(read).join(20)
    assert got, "grab waits for ever"
    if isinstance(got[0], Exception):
        raise got[0]
    return got[0]


def remedy(grabber: PicameraBackend, name: str) -> Callable[[], None]:
    return dict(grabber.remedies)[name]


def number(frame: Frame) -> int:
    """Which picture the sensor took this from; every pixel says so."""
    assert isinstance(frame.pixels, np.ndarray)
    assert (frame.pixels == frame.pixels[0, 0, 0]).all(), "torn"
    return int(frame.pixels[0, 0, 0])


# --- frames ---------------------------------------------------------------------------------------


def test_frames_are_copies_with_the_time_the_sensor_took_them(grabber: PicameraBackend) -> None:
    before_ms = RunningClock().now_ms()
    first = frame_of(grabber)
    seen = number(first)
    seqs = [frame_of(grabber).seq for _ in range(2 * BUFFERS)]
    assert seqs == list(range(first.seq + 1, first.seq + 1 + 2 * BUFFERS))
    assert number(first) == seen, "its buffer was filled anew meanwhile"
    assert before_ms <= first.captured_ms <= RunningClock().now_ms()


def test_both_streams_come_without_the_padding_of_their_rows(grabber: PicameraBackend) -> None:
    frame = frame_of(grabber)
    assert isinstance(frame.pixels, np.ndarray) and isinstance(frame.small, np.ndarray)
    assert (frame.width_px, frame.height_px) == (640, 360)
    assert frame.pixels.shape == (360, 640, 3) and frame.pixels.flags.c_contiguous
    assert frame.small.shape == (180, 320, 3)


def test_it_is_configured_once_with_four_buffers_and_no_queue(world: World, grabber: PicameraBackend) -> None:
    frame_of(grabber)
    remedy(grabber, "restart")()
    frame_of(grabber)
    asked = world.camera.camera_configuration()
    assert (asked["buffer_count"], asked["queue"], asked["raw"]) == (4, False, None)
    assert len(world.made) == world.camera.configure_count == 1


def test_a_camera_that_gives_nv12_only_is_converted(world: World) -> None:
    world.formats = ("NV12", "NV12")
    grabber = grabber_of(world)
    grabber.open()
    frame = frame_of(grabber)
    assert isinstance(frame.pixels, np.ndarray) and frame.pixels.shape == (360, 640, 3)
    grabber.close()


def test_a_small_stream_with_another_view_is_not_used(world: World) -> None:
    world.lores_size = (320, 240)
    grabber = grabber_of(world)
    grabber.open()
    assert frame_of(grabber).small is None
    grabber.close()


def test_a_format_nobody_reads_is_said_and_nothing_stays_open(world: World) -> None:
    world.formats = ("MJPEG", "YUV420")
    with pytest.raises(CameraError, match="MJPEG") as caught:
        grabber_of(world).open()
    assert "v4l2" in en(caught.value.fix)
    assert not world.camera.is_open


def test_what_the_camera_tells_of_a_picture_goes_with_it(world: World, grabber: PicameraBackend) -> None:
    world.metadata = {
        "ExposureTime": 9_985,
        "Lux": float("nan"),
        "ScalerCrop": (0, 0, 1, 1),
        "AnalogueGain": 2.5,
    }
    assert frame_of(grabber).told == {"ExposureTime": 9_985.0, "AnalogueGain": 2.5}


def test_without_a_stamp_a_picture_is_as_old_as_its_arrival(world: World, grabber: PicameraBackend) -> None:
    world.stamps = False
    asked_ms = RunningClock().now_ms()
    assert frame_of(grabber).captured_ms >= asked_ms


def test_with_stamps_of_an_unknown_clock_the_first_pictures_are_not_used(
    world: World, grabber: PicameraBackend, caplog: pytest.LogCaptureFixture
) -> None:
    world.metadata = {"SensorTimestamp": 12_345}
    frame_of(grabber)
    until(all_free(world))
    assert "sensor_clock_unknown" in caplog.text


def test_closing_ends_a_reader_that_waits_for_its_turn(world: World) -> None:
    """A camera that cannot be slowed down is read at the wanted rate all the same."""
    world.controls = {"FrameDurationLimits": (33_333, 33_333, None)}
    grabber = PicameraBackend(CameraConfig(kind="picamera2", fps=0.05), RunningClock(), world.library)
    grabber.open()
    frame_of(grabber)
    ended: list[CameraError] = []

    def read() -> None:
        with pytest.raises(CameraError, match="closed") as caught:
            while True:
                grabber.grab()
        ended.append(caught.value)

    reader = in_thread(read)
    time.sleep(0.05)
    grabber.close()
    reader.join(20)
    assert ended[0].retry is Retry.BACKOFF, "it may be opened again"


# --- buffers --------------------------------------------------------------------------------------


def all_free(world: World) -> Callable[[], bool]:
    """Silent, every buffer lies ready: none is kept by anybody."""
    world.is_silent = True
    return lambda: len(world.camera.free) == BUFFERS


def test_the_trap_captures_that_time_out_eat_a_buffer_each(world: World, grabber: PicameraBackend) -> None:
    """What the library does to whoever does not cancel: proof that the fake bites."""
    world.is_silent = True
    for _ in range(3):
        with pytest.raises(FutureTimeout):
            world.camera.capture_request(wait=0.01)
    world.is_silent = False
    until(lambda: world.camera._number > 20)
    assert not all_free(world)()
    until(lambda: len(world.camera.free) == BUFFERS - 3)


def test_time_outs_leak_no_buffer(world: World, grabber: PicameraBackend) -> None:
    world.is_silent = True
    frames: list[Frame] = []
    waiting = in_thread(lambda: frames.append(grabber.grab()))
    time.sleep(0.5)  # five waits
    world.is_silent = False
    waiting.join(20)
    assert len(frames) == 1
    until(all_free(world))


def test_an_answer_in_the_moment_of_cancelling_is_used_not_lost(
    world: World, grabber: PicameraBackend
) -> None:
    world.is_silent = True

    def answered_just_now() -> None:
        world.before_cancel = lambda: None
        world.is_silent = False
        until(lambda: not world.camera._jobs)
        world.is_silent = True

    world.before_cancel = answered_just_now
    frame_of(grabber)
    until(all_free(world))


def test_an_answer_that_comes_even_later_gives_its_buffer_back(
    world: World, grabber: PicameraBackend
) -> None:
    world.is_silent = True
    told = threading.Event()

    def done_but_not_told() -> None:
        world.before_cancel = lambda: None
        world.before_answer = lambda: (told.wait(20), None)[1]
        world.is_silent = False
        until(lambda: not world.camera._jobs)

    world.before_cancel = done_but_not_told
    frames: list[Frame] = []
    waiting = in_thread(lambda: frames.append(grabber.grab()))
    time.sleep(0.6)
    assert not frames
    world.before_answer = lambda: None
    told.set()
    waiting.join(20)
    assert frames
    frame_of(grabber)
    until(all_free(world))


def test_the_trap_kept_requests_starve_the_camera(world: World, grabber: PicameraBackend) -> None:
    kept = [world.camera.capture_request(wait=1.0) for _ in range(BUFFERS)]
    with pytest.raises(FutureTimeout):
        world.camera.capture_request(wait=0.05)
    world.camera.cancel_all_and_flush()
    for request in kept:
        request.release()
    frame_of(grabber)


def test_frames_may_be_kept_for_ever(world: World, grabber: PicameraBackend) -> None:
    kept = [frame_of(grabber) for _ in range(5 * BUFFERS)]
    assert len({number(frame) for frame in kept}) == len(kept)
    until(all_free(world))


def test_pixels_that_cannot_be_read_give_their_buffer_back(world: World, grabber: PicameraBackend) -> None:
    def unreadable() -> None:
        raise OSError("dma buf")

    world.while_mapped = unreadable
    for _ in range(2 * BUFFERS):
        with pytest.raises(CameraError, match="dma buf"):
            frame_of(grabber)
    until(all_free(world))


# --- silence, death, hanging ----------------------------------------------------------------------


def test_a_stall_of_cancelled_requests_heals_with_a_restart(world: World, grabber: PicameraBackend) -> None:
    frame_of(grabber)
    world.cancels = True
    until(lambda: world.cancelled == BUFFERS)
    frames: list[Frame] = []
    waiting = in_thread(lambda: frames.append(grabber.grab()))
    world.cancels = False
    remedy(grabber, "cancel")()
    time.sleep(0.3)
    assert not frames, "cancelling alone does not bring such buffers back"
    remedy(grabber, "restart")()
    waiting.join(20)
    assert len(frames) == 1 and world.camera.configure_count == 1


def test_the_trap_a_dead_event_loop_makes_stop_wait_for_ever(world: World, grabber: PicameraBackend) -> None:
    die_in_callback(world)
    assert not wait([tasks.in_thread("stop", world.camera.stop)], 0.2).done


def test_a_dead_event_loop_heals_with_a_restart(world: World, grabber: PicameraBackend) -> None:
    die_in_callback(world)
    frames: list[Frame] = []
    waiting = in_thread(lambda: frames.append(grabber.grab()))
    time.sleep(0.3)
    assert not frames
    remedy(grabber, "restart")()
    waiting.join(20)
    assert len(frames) == 1


def test_a_dead_event_loop_can_be_closed_and_opened(world: World, grabber: PicameraBackend) -> None:
    die_in_callback(world)
    grabber.close()
    grabber.open()
    assert frame_of(grabber).seq == 1
    assert len(world.made) == 2 and not world.made[0].is_open


def die_in_callback(world: World) -> None:
    def raising(request: object) -> None:
        raise ValueError("in a callback")

    world.camera.pre_callback = raising
    loop = world.camera._loop
    assert loop is not None
    loop.join(20)
    world.camera.pre_callback = None


def test_a_stop_that_hangs_is_left_behind_and_asked_about_again(
    world: World, grabber: PicameraBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backend, "_CLOSE_S", 0.1)
    frame_of(grabber)
    world.driver_answers.clear()
    grabber.close()
    assert "camera_close_abandoned" in caplog.text
    with pytest.raises(CameraError, match="driver hangs") as caught:
        grabber.open()
    assert caught.value.code == "camera_stalled" and caught.value.retry is Retry.BACKOFF
    world.driver_answers.set()
    until(lambda: not world.camera.is_open)
    until(lambda: grabber._closing is not None and grabber._closing.done())
    grabber.open()
    assert frame_of(grabber).seq == 2


def test_a_process_whose_camera_hangs_still_ends() -> None:
    """The library closes its cameras once more at the interpreter's exit."""
    hanging = """
from tests.camera.picamera import test_backend as kit
world = kit.World()
grabber = kit.grabber_of(world)
grabber.open()
world.driver_answers.clear()
kit.in_thread(kit.remedy(grabber, "restart"))
kit.until(lambda: world.camera._loop is None)
kit.backend._CLOSE_S = 0.1
grabber.close()
"""
    subprocess.run([sys.executable, "-c", hanging], check=True, timeout=60)


def test_a_restart_that_hangs_never_hangs_the_reader_nor_the_closing(
    world: World, grabber: PicameraBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_CLOSE_S", 0.1)
    world.driver_answers.clear()
    restart = in_thread(remedy(grabber, "restart"))
    until(lambda: world.camera._loop is None)
    ended: list[CameraError] = []

    def read() -> None:
        try:
            while True:
                grabber.grab()
        except CameraError as error:
            ended.append(error)

    reader = in_thread(read)
    time.sleep(0.2)
    grabber.close()
    reader.join(20)
    assert ended and restart.is_alive()
    world.driver_answers.set()
    restart.join(20)


def test_closing_ends_a_waiting_reader(world: World, grabber: PicameraBackend) -> None:
    world.is_silent = True
    ended: list[CameraError] = []

    def read() -> None:
        with pytest.raises(CameraError, match="closed") as caught:
            while True:
                grabber.grab()
        ended.append(caught.value)

    reader = in_thread(read)
    time.sleep(0.02)
    grabber.close()
    grabber.close()
    reader.join(20)
    assert ended[0].retry is Retry.BACKOFF


def test_a_restart_that_comes_too_late_wakes_no_closed_camera(world: World, grabber: PicameraBackend) -> None:
    device = grabber._device
    assert device is not None
    grabber.close()
    device.restart()
    assert not world.camera.started and not world.camera.is_open


# --- torn pictures --------------------------------------------------------------------------------


def test_the_stream_is_not_started_anew_under_a_picture_being_read(
    world: World, grabber: PicameraBackend
) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        reading.set()
        go_on.wait(20)

    world.while_mapped = slow
    frames: list[Frame] = []
    reader = in_thread(lambda: frames.append(grabber.grab()))
    assert reading.wait(20)
    restart = in_thread(remedy(grabber, "restart"))
    time.sleep(0.1)
    assert world.camera.stop_count == 0
    world.while_mapped = lambda: None
    go_on.set()
    reader.join(20)
    restart.join(20)
    assert world.camera.stop_count == 1
    number(frames[0])


def test_a_picture_of_before_a_restart_is_never_read(world: World, grabber: PicameraBackend) -> None:
    before: list[int] = []

    def restarted_meanwhile() -> None:
        world.after_wait = lambda: None
        before.append(world.camera._number)
        remedy(grabber, "restart")()

    world.after_wait = restarted_meanwhile
    assert number(frame_of(grabber)) > before[0]
    assert world.camera.stop_count == 1
    until(all_free(world))


# --- opening --------------------------------------------------------------------------------------


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_busy_camera_is_named_and_costs_nothing_each_time(world: World) -> None:
    world.open_error = RuntimeError("failed to acquire camera: Device or resource busy")
    before = open_files()
    for _ in range(5):
        with pytest.raises(CameraError) as caught:
            grabber_of(world).open()
        assert caught.value.code == "camera_busy" and "fuser" in en(caught.value.fix)
    assert open_files() == before


def test_a_configuration_that_fails_lets_the_camera_go(world: World) -> None:
    world.configure_error = RuntimeError("Invalid camera configuration")
    before = open_files()
    with pytest.raises(CameraError, match="Invalid camera configuration"):
        grabber_of(world).open()
    assert not world.camera.is_open and open_files() == before


def test_no_camera_is_said_without_opening_one(world: World) -> None:
    world.cameras = []
    with pytest.raises(CameraError, match="lists no camera") as caught:
        grabber_of(world).open()
    assert caught.value.code == "camera_absent" and not world.made


@pytest.mark.parametrize(("source", "chosen"), [("", 0), ("1", 1), ("imx219", 1), ("/base/i2c/imx708@1a", 0)])
def test_one_of_two_cameras_is_chosen(world: World, source: str, chosen: int) -> None:
    world.cameras.append({"Model": "imx219", "Id": "/base/i2c/imx219@10", "Num": 1})
    grabber = grabber_of(world, source)
    grabber.open()
    assert world.camera.camera_num == chosen
    grabber.close()


def test_a_camera_that_is_not_there_is_named_with_those_that_are(world: World) -> None:
    with pytest.raises(CameraError, match=r"imx477.*0 \(imx708\)"):
        grabber_of(world, "imx477").open()


def test_a_camera_that_offers_nothing_gets_nothing(world: World) -> None:
    world.controls = {}
    grabber = grabber_of(world)
    grabber.open()
    grabber.expose(FaceLight(1, 10.0, 1.0, 0.0))
    frame_of(grabber)
    grabber.close()
    assert world.applied == []


@pytest.mark.parametrize("more", [{}, AUTOFOCUS])
def test_what_is_set_is_what_is_offered(world: World, more: dict[str, tuple[object, object, object]]) -> None:
    world.controls = PI_CONTROLS | more
    grabber = grabber_of(world)
    grabber.open()
    grabber.close()
    assert ("AfWindows" in world.applied[0]) == bool(more)
    assert world.applied[0]["FrameDurationLimits"] == (20_000, 20_000)


# --- exposing for the face ------------------------------------------------------------------------


def test_a_dark_face_is_given_more_light_until_the_verification_ends(
    world: World, grabber: PicameraBackend
) -> None:
    grabber.expose(FaceLight(1, 30.0, 1.0, 0.0))
    frame_of(grabber)
    until(lambda: "ExposureValue" in world.applied[-1])
    assert world.applied[-1] == {"ExposureValue": 0.5}
    grabber.expose(None)
    frame_of(grabber)
    until(lambda: world.applied[-1] == {"ExposureValue": 0.0})


def test_a_control_that_gets_lost_is_said_again(world: World, grabber: PicameraBackend) -> None:
    world.lost_controls = 2
    grabber.expose(FaceLight(1, 30.0, 1.0, 0.0))
    for _ in range(3):
        frame_of(grabber)
    until(lambda: world.applied[-1] == {"ExposureValue": 0.5})


def test_a_restart_keeps_the_exposure(world: World, grabber: PicameraBackend) -> None:
    grabber.expose(FaceLight(1, 30.0, 1.0, 0.0))
    frame_of(grabber)
    remedy(grabber, "restart")()
    for _ in range(6):
        frame_of(grabber)
    since_restart = world.applied[[n for n, said in enumerate(world.applied) if "AeEnable" in said][-1] + 1 :]
    assert {"ExposureValue": 0.5} in since_restart


# --- as the terminal's camera ---------------------------------------------------------------------


async def test_the_terminal_brings_a_silent_camera_back_without_opening_it_again(world: World) -> None:
    clock = HandClock()
    camera = NewestFrameSource(
        PicameraBackend(CameraConfig(kind="picamera2"), clock, world.library), clock, stall_ms=300
    )
    camera.start()
    async with asyncio.timeout(60):
        seq = (await camera.next_frame(0)).seq
        world.cancels = True
        await asyncio.to_thread(until, lambda: world.cancelled == BUFFERS)
        world.cancels = False
        for waited_ms in (300, STEP_MS):  # then the remedies follow each other: cancel, restart
            clock.at_ms += waited_ms
            with pytest.raises(CameraError) as caught:
                await camera.next_frame(seq)
            assert caught.value.code == "camera_stalled"
        await asyncio.to_thread(until, lambda: world.camera.stop_count == 1)
        await healed(camera, seq)
    camera.stop()
    assert len(world.made) == world.camera.configure_count == 1


async def healed(camera: NewestFrameSource, seq: int) -> Frame:
    while True:
        try:
            return await camera.next_frame(seq)
        except CameraError:
            await asyncio.sleep(0.01)


async def test_behind_the_newest_frame_slot(world: World) -> None:
    camera = NewestFrameSource(grabber_of(world), RunningClock(), stall_ms=2_000)
    camera.start()
    seq = 0
    async with asyncio.timeout(20):
        for _ in range(5):
            frame = await camera.next_frame(seq)
            assert frame.seq > seq
            seq = frame.seq
    camera.stop()
    assert not world.camera.is_open


async def test_the_light_on_a_face_reaches_the_camera(world: World) -> None:
    camera = NewestFrameSource(grabber_of(world), RunningClock(), stall_ms=2_000)
    camera.start()
    camera.expose(FaceLight(1, 30.0, 1.0, 0.0))
    await asyncio.to_thread(until, lambda: world.applied[-1] == {"ExposureValue": 0.5})
    camera.stop()
