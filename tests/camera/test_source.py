"""The newest-frame slot: no backlog, no endless wait, and each failed thread is reported."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from agent.camera import capture, source
from agent.camera.backend import Remedies
from agent.camera.source import NewestFrameSource
from agent.core.model import FaceLight, Frame
from agent.errors import CameraError, Retry
from tests.camera.clock import HandClock


class ManualBackend:
    """A backend that delivers the frames and errors that a test gives. Follows the protocol's rules."""

    remedies: Remedies = ()

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.opened = 0
        self.closed = 0
        self.open_error: CameraError | None = None
        self._inbox: queue.Queue[Exception | int | None] = queue.Queue()  # a number: that opening was closed
        self._is_open = False
        self._seq = 0

    def give(self, error: Exception | None = None) -> None:
        """One frame, or one error, for the next ``grab``."""
        self._inbox.put(error)

    def open(self) -> None:
        if self.open_error is not None:
            raise self.open_error
        self.opened += 1
        self._is_open = True

    def grab(self) -> Frame:
        while isinstance(item := self._inbox.get(), int):
            if item == self.opened:
                raise CameraError("closed", retry=Retry.BACKOFF)
        if item is not None:
            raise item
        self._seq += 1
        return Frame(None, self._seq, self.clock.now_ms(), 64, 64)

    def close(self) -> None:
        self.closed += 1
        if self._is_open:
            self._is_open = False
            self._inbox.put(self.opened)


class HangingBackend(ManualBackend):
    """A driver that hangs in ``grab``, also after ``close``, until ``released`` is set."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.released = threading.Event()

    def grab(self) -> Frame:
        self.released.wait()
        raise CameraError("gave up")

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def backend(clock: HandClock) -> ManualBackend:
    return ManualBackend(clock)


@pytest.fixture
def camera(backend: ManualBackend, clock: HandClock) -> Iterator[NewestFrameSource]:
    ready = NewestFrameSource(backend, clock, stall_ms=2_000)
    ready.start()
    yield ready
    ready.stop()


@asynccontextmanager
async def patience() -> AsyncIterator[None]:
    """A time limit for a loaded machine: a test that hangs fails."""
    async with asyncio.timeout(60):
        yield


async def in_the_end(camera: NewestFrameSource, after_seq: int) -> Frame:
    """The next frame of a recovering camera: errors are ignored, as in the frame loop."""
    async with patience():
        while True:
            try:
                return await camera.next_frame(after_seq)
            except CameraError:
                await asyncio.sleep(0.01)


async def test_frames_come_in_order_and_each_once(camera: NewestFrameSource, backend: ManualBackend) -> None:
    seq = 0
    for expected in (1, 2, 3):
        backend.give()
        async with patience():
            frame = await camera.next_frame(seq)
        assert frame.seq == expected
        seq = frame.seq


async def test_a_slow_consumer_sees_the_newest_frame_never_a_backlog(
    camera: NewestFrameSource, backend: ManualBackend
) -> None:
    for _ in range(50):
        backend.give()
    async with patience():
        await camera.next_frame(49)  # number 50 has arrived
        assert (await camera.next_frame(0)).seq == 50


async def test_a_waiting_consumer_wakes_up_with_the_frame(
    camera: NewestFrameSource, backend: ManualBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_STALL_CHECK_S", 3_600)  # only the wake-up can end the wait
    waiting = asyncio.create_task(camera.next_frame(0))
    await asyncio.sleep(0)
    backend.give()
    async with patience():
        assert (await waiting).seq == 1


async def test_two_consumers_get_the_same_frame(camera: NewestFrameSource, backend: ManualBackend) -> None:
    waiting = [asyncio.create_task(camera.next_frame(0)) for _ in range(2)]
    await asyncio.sleep(0)
    backend.give()
    async with patience():
        one, two = await asyncio.gather(*waiting)
    assert one is two


async def test_next_frame_stalled_camera_raises_and_recovers_with_the_next_frame(
    camera: NewestFrameSource, backend: ManualBackend, clock: HandClock
) -> None:
    backend.give()
    async with patience():
        await camera.next_frame(0)
    clock.at_ms += 2_000
    with pytest.raises(CameraError) as caught:
        await camera.next_frame(1)
    assert caught.value.code == "camera_stalled"
    assert caught.value.fix
    backend.give()
    assert (await in_the_end(camera, after_seq=1)).seq == 2


async def test_next_frame_camera_without_any_frame_raises(
    camera: NewestFrameSource, clock: HandClock
) -> None:
    clock.at_ms += 2_000
    with pytest.raises(CameraError) as caught:  # of the stall, or already of the opening
        await camera.next_frame(0)
    assert caught.value.code == "camera_stalled"


async def test_next_frame_after_a_recording_raises_each_time(
    camera: NewestFrameSource, backend: ManualBackend
) -> None:
    backend.give(CameraError("the scene is over"))
    for _ in range(3):
        async with patience():
            with pytest.raises(CameraError, match="the scene is over"):
                await camera.next_frame(0)
    assert backend.opened == 1


async def test_a_lost_camera_is_opened_again(
    camera: NewestFrameSource, backend: ManualBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "_PAUSES_MS", (1,))
    backend.give(CameraError("stream lost", retry=Retry.BACKOFF))
    backend.give()
    assert (await in_the_end(camera, after_seq=0)).seq == 1
    assert backend.opened == 2


async def test_next_frame_bug_in_a_backend_is_logged_and_raised(
    camera: NewestFrameSource, backend: ManualBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        backend.give(ZeroDivisionError("oops"))
        async with patience():
            with pytest.raises(CameraError, match="ZeroDivisionError: oops"):
                await camera.next_frame(0)
    assert "bug_in_camera_backend" in caplog.text
    assert "Traceback" in caplog.text


def test_start_without_a_camera_raises(backend: ManualBackend, clock: HandClock) -> None:
    backend.open_error = CameraError("no camera found")
    with pytest.raises(CameraError, match="no camera found"):
        NewestFrameSource(backend, clock, stall_ms=2_000).start()


async def test_before_start_and_after_stop_there_is_no_frame(
    camera: NewestFrameSource, backend: ManualBackend, clock: HandClock
) -> None:
    camera.stop()
    camera.stop()
    assert backend.closed
    for idle in (camera, NewestFrameSource(backend, clock, stall_ms=2_000)):
        with pytest.raises(CameraError, match="not started"):
            await idle.next_frame(0)


async def test_start_after_stop_continues_the_frame_numbers(clock: HandClock) -> None:
    backend = ManualBackend(clock)
    camera = NewestFrameSource(backend, clock, stall_ms=2_000)
    seq = 0
    for _ in range(2):
        camera.start()
        backend.give()
        async with patience():
            frame = await camera.next_frame(seq)
        assert frame.seq > seq
        seq = frame.seq
        camera.stop()


def test_stop_hanging_driver_costs_one_thread(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capture, "_STOP_S", 0.05)
    hanging = HangingBackend(clock)
    camera = NewestFrameSource(hanging, clock, stall_ms=2_000)
    camera.start()
    with caplog.at_level(logging.WARNING):
        camera.stop()
    assert "capture_thread_abandoned" in caplog.text
    with pytest.raises(CameraError, match="driver hangs"):
        camera.start()
    hanging.released.set()


# --- light on the payer's face -------------------------------------------------------------------


class ExposingBackend(ManualBackend):
    """A camera that can adapt its exposure to a face."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.lights: list[FaceLight | None] = []

    def adapt_exposure(self, light: FaceLight | None) -> None:
        self.lights.append(light)


def test_expose_light_reaches_only_a_camera_that_can_adapt() -> None:
    clock, light = HandClock(), FaceLight(0, luma=40.0, over=0.0)
    lit = ExposingBackend(clock)
    able = NewestFrameSource(lit, clock, stall_ms=1_000)
    able.adapt_exposure(light)
    able.adapt_exposure(None)
    assert lit.lights == [light, None]
    NewestFrameSource(ManualBackend(clock), clock, stall_ms=1_000).adapt_exposure(light)


# --- a strobed lamp ------------------------------------------------------------------------------


class LumaBackend(ManualBackend):
    """Grey pictures of the given brightness; after the last one no frame comes."""

    def __init__(self, clock: HandClock, lumas: list[int]) -> None:
        super().__init__(clock)
        self._lumas = lumas
        for _ in lumas:
            self.give()

    def grab(self) -> Frame:
        frame = super().grab()
        pixels = np.full((64, 64, 3), self._lumas[frame.seq - 1], np.uint8)
        return Frame(pixels, frame.seq, 1_000 + 100 * frame.seq, 64, 64)


async def newest_of(lumas: list[int]) -> Frame:
    """The newest frame after all pictures were captured."""
    clock = HandClock(1_000 + 100 * len(lumas))
    backend = LumaBackend(clock, lumas)
    camera = NewestFrameSource(backend, clock, stall_ms=20_000)
    camera.start()
    try:
        async with patience():
            while not backend._inbox.empty():  # noqa: ASYNC110 - the queue has no event
                await asyncio.sleep(0.01)
        backend.give(CameraError("the end"))  # all earlier frames are in the slot when the error is raised
        async with patience():
            with pytest.raises(CameraError, match="the end"):
                while True:
                    await camera.next_frame(len(lumas))
        assert camera._capture is not None and camera._capture.newest is not None
        return camera._capture.newest
    finally:
        camera.stop()


async def test_next_frame_strobed_camera_leaves_out_the_dark_frames() -> None:
    assert (await newest_of([120, 4] * 4)).seq == 7


async def test_next_frame_covered_strobed_camera_delivers_the_dark_frames() -> None:
    assert (await newest_of([120, 4] * 4 + [4, 4])).seq == 10


async def test_next_frame_dark_camera_delivers_each_frame() -> None:
    assert (await newest_of([9, 2] * 4)).seq == 8
