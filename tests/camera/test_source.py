"""The newest-frame slot: never a backlog, never an endless wait, never a dead thread nobody hears of."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from agent.camera import capture, source
from agent.camera.backend import Remedies
from agent.camera.source import NewestFrameSource
from agent.core.model import FaceLight, Frame
from agent.errors import CameraError, Retry
from tests.camera.clock import HandClock


class HandGrabber:
    """Grabs what the test hands it; an exception handed in is raised. Keeps the protocol's rules."""

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
        """One frame, or one error, for whoever grabs next."""
        self._inbox.put(error)

    def open(self) -> None:
        if self.open_error is not None:
            raise self.open_error
        self.opened += 1
        self._is_open = True

    def grab(self) -> Frame:
        while isinstance(news := self._inbox.get(), int):
            if news == self.opened:
                raise CameraError("closed", retry=Retry.BACKOFF)
        if news is not None:
            raise news
        self._seq += 1
        return Frame(None, self._seq, self.clock.now_ms(), 64, 64)

    def close(self) -> None:
        self.closed += 1
        if self._is_open:
            self._is_open = False
            self._inbox.put(self.opened)


class DeafGrabber(HandGrabber):
    """A driver that hangs in ``grab`` and does not hear ``close``, until the test lets go."""

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
def grabber(clock: HandClock) -> HandGrabber:
    return HandGrabber(clock)


@pytest.fixture
def camera(grabber: HandGrabber, clock: HandClock) -> Iterator[NewestFrameSource]:
    ready = NewestFrameSource(grabber, clock, stall_ms=2_000)
    ready.start()
    yield ready
    ready.stop()


@asynccontextmanager
async def patience() -> AsyncIterator[None]:
    """Long enough for a loaded machine; a test that hangs fails instead."""
    async with asyncio.timeout(20):
        yield


async def in_the_end(camera: NewestFrameSource, after_seq: int) -> Frame:
    """The next frame of a camera that is just healing: asked again and again, as the frame loop does."""
    async with patience():
        while True:
            try:
                return await camera.next_frame(after_seq)
            except CameraError:
                await asyncio.sleep(0.01)


async def test_frames_come_in_order_and_each_once(camera: NewestFrameSource, grabber: HandGrabber) -> None:
    seq = 0
    for expected in (1, 2, 3):
        grabber.give()
        async with patience():
            frame = await camera.next_frame(seq)
        assert frame.seq == expected
        seq = frame.seq


async def test_a_slow_consumer_sees_the_newest_frame_never_a_backlog(
    camera: NewestFrameSource, grabber: HandGrabber
) -> None:
    for _ in range(50):
        grabber.give()
    async with patience():
        await camera.next_frame(49)  # the fiftieth is there
        assert (await camera.next_frame(0)).seq == 50


async def test_a_waiting_consumer_wakes_up_with_the_frame(
    camera: NewestFrameSource, grabber: HandGrabber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_STALL_CHECK_S", 3_600)  # only the wake-up can end the wait
    waiting = asyncio.create_task(camera.next_frame(0))
    await asyncio.sleep(0)
    grabber.give()
    async with patience():
        assert (await waiting).seq == 1


async def test_two_consumers_get_the_same_frame(camera: NewestFrameSource, grabber: HandGrabber) -> None:
    waiting = [asyncio.create_task(camera.next_frame(0)) for _ in range(2)]
    await asyncio.sleep(0)
    grabber.give()
    async with patience():
        one, two = await asyncio.gather(*waiting)
    assert one is two


async def test_a_camera_that_falls_silent_is_unavailable_and_heals_with_the_next_frame(
    camera: NewestFrameSource, grabber: HandGrabber, clock: HandClock
) -> None:
    grabber.give()
    async with patience():
        await camera.next_frame(0)
    clock.at_ms += 2_000
    with pytest.raises(CameraError) as caught:
        await camera.next_frame(1)
    assert caught.value.code == "camera_stalled"
    assert caught.value.fix
    grabber.give()
    assert (await in_the_end(camera, after_seq=1)).seq == 2


async def test_a_camera_that_never_says_anything_is_unavailable(
    camera: NewestFrameSource, clock: HandClock
) -> None:
    clock.at_ms += 2_000
    with pytest.raises(CameraError) as caught:  # it says so, or already that it is opened again
        await camera.next_frame(0)
    assert caught.value.code == "camera_stalled"


async def test_the_end_of_a_recording_is_told_to_everybody_who_asks(
    camera: NewestFrameSource, grabber: HandGrabber
) -> None:
    grabber.give(CameraError("the scene is over"))
    for _ in range(3):
        async with patience():
            with pytest.raises(CameraError, match="the scene is over"):
                await camera.next_frame(0)
    assert grabber.opened == 1


async def test_a_lost_camera_is_opened_again(
    camera: NewestFrameSource, grabber: HandGrabber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "_RESTS_MS", (1,))
    grabber.give(CameraError("stream lost", retry=Retry.BACKOFF))
    grabber.give()
    assert (await in_the_end(camera, after_seq=0)).seq == 1
    assert grabber.opened == 2


async def test_a_bug_in_an_adapter_is_logged_and_told(
    camera: NewestFrameSource, grabber: HandGrabber, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        grabber.give(ZeroDivisionError("oops"))
        async with patience():
            with pytest.raises(CameraError, match="ZeroDivisionError: oops"):
                await camera.next_frame(0)
    assert "bug_in_camera_backend" in caplog.text
    assert "Traceback" in caplog.text


def test_no_camera_is_said_at_the_start(grabber: HandGrabber, clock: HandClock) -> None:
    grabber.open_error = CameraError("no camera found")
    with pytest.raises(CameraError, match="no camera found"):
        NewestFrameSource(grabber, clock, stall_ms=2_000).start()


async def test_before_start_and_after_stop_there_is_no_frame(
    camera: NewestFrameSource, grabber: HandGrabber, clock: HandClock
) -> None:
    camera.stop()
    camera.stop()
    assert grabber.closed
    for idle in (camera, NewestFrameSource(grabber, clock, stall_ms=2_000)):
        with pytest.raises(CameraError, match="not started"):
            await idle.next_frame(0)


async def test_start_after_stop_goes_on_counting(clock: HandClock) -> None:
    grabber = HandGrabber(clock)
    camera = NewestFrameSource(grabber, clock, stall_ms=2_000)
    seq = 0
    for _ in range(2):
        camera.start()
        grabber.give()
        async with patience():
            frame = await camera.next_frame(seq)
        assert frame.seq > seq
        seq = frame.seq
        camera.stop()


def test_a_hanging_driver_costs_a_thread_and_not_the_terminal(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capture, "_STOP_S", 0.05)
    deaf = DeafGrabber(clock)
    camera = NewestFrameSource(deaf, clock, stall_ms=2_000)
    camera.start()
    with caplog.at_level(logging.WARNING):
        camera.stop()
    assert "capture_thread_abandoned" in caplog.text
    with pytest.raises(CameraError, match="driver hangs"):
        camera.start()
    deaf.released.set()


# --- light on the payer's face -------------------------------------------------------------------


class LitGrabber(HandGrabber):
    """A camera that can expose for a face."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.lights: list[FaceLight | None] = []

    def expose(self, light: FaceLight | None) -> None:
        self.lights.append(light)


def test_light_goes_to_a_camera_that_can_act_on_it_and_nowhere_else() -> None:
    clock, light = HandClock(), FaceLight(0, luma=40.0, under=0.6, over=0.0)
    lit = LitGrabber(clock)
    able = NewestFrameSource(lit, clock, stall_ms=1_000)
    able.expose(light)
    able.expose(None)
    assert lit.lights == [light, None]
    NewestFrameSource(HandGrabber(clock), clock, stall_ms=1_000).expose(light)
