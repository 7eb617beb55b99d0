"""Drivers that hang, stall and recover, behind the real capture thread; the test moves the clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from agent.camera import capture
from agent.camera.backend import Remedies
from agent.camera.recovery import CLOSE_MS, OPEN_MS, STEP_MS
from agent.camera.source import NewestFrameSource
from agent.core.model import Frame
from agent.errors import CameraError, CameraHung, Retry
from agent.texts import Text
from tests.camera.clock import HandClock
from tests.texts import en, zh

STALL_MS = 2_000
MINUTE_MS = 60_000
PATIENCE_MS = 600_000


class Driver:
    """A camera backend whose driver delivers frames, stalls, hangs in a call and recovers.

    ``hangs``: calls that do not return until ``let_go``. ``cures``: calls that end a stall. A waiting
    ``grab`` ends with the close, unless ``grab`` hangs.
    """

    def __init__(self, clock: HandClock, *remedies: str) -> None:
        self.clock = clock
        self.hangs: set[str] = set()
        self.cures: set[str] = set()
        self.refuses: CameraError | None = None
        self.called: list[str] = []
        self.remedies: Remedies = tuple((name, self._remedy(name)) for name in remedies)
        self._changed = threading.Condition()
        self._let_go = False
        self._silent = False
        self._is_open = False
        self._due = self._tries = 0
        self.seq = 0

    def open(self) -> None:
        self._call("open")
        if self.refuses is not None:
            raise self.refuses
        with self._changed:
            self._is_open = True
            self._recover("open")

    def grab(self) -> Frame:
        with self._changed:
            self._changed.wait_for(lambda: self._ready() or ("grab" in self.hangs and self._let_go))
            if not self._is_open:
                raise CameraError("the camera was closed", retry=Retry.BACKOFF)
            self._due -= 1
            self.seq += 1
            self._changed.notify_all()
            return Frame(None, self.seq, self.clock.now_ms(), 64, 64)

    def close(self) -> None:
        self._call("close")
        with self._changed:
            self._is_open = False
            self._changed.notify_all()

    # --- controlled by a test ---------------------------------------------------------------------

    def give(self) -> None:
        with self._changed:
            self._due += 1
            self._changed.notify_all()

    def fall_silent(self) -> None:
        with self._changed:
            self._silent = True

    def let_go(self) -> None:
        with self._changed:
            self._let_go = True
            self.hangs.clear()
            self._changed.notify_all()

    def is_opened_again(self) -> bool:
        """Whether ``open`` was called since the last call of this method."""
        before, self._tries = self._tries, self.called.count("open")
        return self._tries > before

    def wait_for(self, holds: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(holds, timeout=60)

    # ----------------------------------------------------------------------------------------------

    def _ready(self) -> bool:
        if "grab" in self.hangs:
            return False
        return not self._is_open or (self._due > 0 and not self._silent)

    def _remedy(self, name: str) -> Callable[[], None]:
        def act() -> None:
            self._call(name)
            with self._changed:
                self._recover(name)
                self._changed.notify_all()

        return act

    def _recover(self, by: str) -> None:
        if by in self.cures:
            self._silent = False
            self._due = 1

    def _call(self, name: str) -> None:
        with self._changed:
            self.called.append(name)
            self._changed.notify_all()
            self._changed.wait_for(lambda: name not in self.hangs or self._let_go)


class Case:
    """A source with a driver, and calls as those of the frame loop."""

    def __init__(self, *remedies: str) -> None:
        self.clock = HandClock()
        self.driver = Driver(self.clock, *remedies)
        self.camera = NewestFrameSource(self.driver, self.clock, stall_ms=STALL_MS)
        self.seq = 0

    async def frame(self) -> None:
        """Wait for one frame; errors are ignored, as in the frame loop."""
        self.driver.give()
        await self.recovers()

    async def recovers(self) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    self.seq = (await self.camera.next_frame(self.seq)).seq
                    return
                except CameraError:
                    await asyncio.sleep(0.005)

    async def runs_for(self, ms: int) -> None:
        await self.frame()
        self.clock.at_ms += ms
        await self.frame()

    async def error(self) -> CameraError:
        async with asyncio.timeout(60):
            with pytest.raises(CameraError) as caught:
                await self.camera.next_frame(self.seq)
        return caught.value

    async def until(self, *called: str) -> None:
        """Wait until the calls of the driver are ``called``."""
        async with asyncio.timeout(60):
            while self.driver.called != [*called]:
                try:
                    self.seq = (await self.camera.next_frame(self.seq)).seq
                except CameraError:
                    await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_STOP_S", 0.1)
    monkeypatch.setattr(capture, "_PAUSES_MS", (1,))


@pytest.fixture
def case() -> Iterator[Case]:
    made = Case("cancel", "restart")
    yield made
    made.driver.let_go()
    made.camera.stop()


async def stalled(case: Case) -> None:
    case.camera.start()
    await case.frame()
    case.driver.fall_silent()
    case.clock.at_ms += STALL_MS


async def test_stall_is_ended_by_the_mildest_remedy(case: Case) -> None:
    case.driver.cures = {"cancel"}
    await stalled(case)
    assert (await case.error()).code == "camera_stalled"
    await case.recovers()
    assert case.driver.called == ["open", "cancel"]


async def test_stall_after_cancelling_is_ended_by_a_restart(case: Case) -> None:
    case.driver.cures = {"restart"}
    await stalled(case)
    await case.until("open", "cancel")
    case.clock.at_ms += STEP_MS
    await case.recovers()
    assert case.driver.called == ["open", "cancel", "restart"]


async def test_stall_after_all_remedies_is_ended_by_opening_again(case: Case) -> None:
    await stalled(case)
    await case.until("open", "cancel")
    case.clock.at_ms += STEP_MS
    await case.until("open", "cancel", "restart")
    case.driver.cures = {"open"}
    case.clock.at_ms += STEP_MS
    await case.recovers()
    assert case.driver.called[3:].count("open") == 1


async def test_a_camera_without_remedies_is_opened_again_at_once() -> None:
    case = Case()
    case.driver.cures = {"open"}
    await stalled(case)
    await case.recovers()
    assert case.driver.called.count("open") == 2
    case.camera.stop()


async def test_remedy_that_hangs_is_abandoned_and_the_next_is_taken(case: Case) -> None:
    case.driver.hangs = {"cancel"}
    case.driver.cures = {"restart"}
    await stalled(case)
    await case.until("open", "cancel")
    case.clock.at_ms += STEP_MS
    await case.recovers()
    await case.frame()


@pytest.mark.parametrize("call", ["grab", "close"])
async def test_a_driver_that_hangs_after_a_minute_of_pictures_ends_the_process(case: Case, call: str) -> None:
    case.camera.start()
    await case.runs_for(MINUTE_MS)
    case.driver.fall_silent()
    case.driver.hangs = {call}
    case.clock.at_ms += STALL_MS
    errors: list[CameraError] = []
    for step_ms in (0, STEP_MS, STEP_MS, CLOSE_MS, CLOSE_MS, CLOSE_MS):
        case.clock.at_ms += step_ms
        errors.append(await case.error())
    assert errors[0].code == "camera_stalled" and not isinstance(errors[0], CameraHung)
    assert isinstance(errors[-1], CameraHung)
    assert errors[-1].exit_code == 74 and en(errors[-1].fix) and zh(errors[-1].fix)


async def test_a_driver_that_hangs_from_the_start_ends_the_process_only_after_ten_minutes(case: Case) -> None:
    case.driver.hangs = {"open"}
    began_ms = case.clock.at_ms
    capture_start(case)
    case.clock.at_ms += OPEN_MS
    error = await case.error()
    assert error.code == "camera_stalled"
    assert case.clock.at_ms < error.bounded_until_ms < case.clock.at_ms + 5_000, "checked again soon"
    case.clock.at_ms = began_ms + PATIENCE_MS - 1
    assert not isinstance(await case.error(), CameraHung)
    case.clock.at_ms += 1
    assert isinstance(await case.error(), CameraHung)


async def test_slow_opening_has_a_time_limit_in_the_error(case: Case) -> None:
    case.driver.hangs = {"open"}
    capture_start(case)
    case.clock.at_ms += STALL_MS
    error = await case.error()
    assert case.clock.at_ms < error.bounded_until_ms <= case.clock.at_ms + OPEN_MS
    case.driver.let_go()
    await case.frame()


async def test_absent_camera_is_opened_again_for_ever_and_ends_no_process(case: Case) -> None:
    case.driver.refuses = CameraError("no such device", code="camera_absent", retry=Retry.BACKOFF)
    with pytest.raises(CameraError, match="no such device"):
        case.camera.start()
    for _ in range(20):
        case.clock.at_ms += MINUTE_MS
        await asyncio.to_thread(case.driver.wait_for, case.driver.is_opened_again)
        error = await case.error()
        assert error.code == "camera_absent" and not isinstance(error, CameraHung)
    case.driver.refuses = None
    await case.frame()


async def test_next_frame_frame_from_before_a_stall_is_not_returned(case: Case) -> None:
    """A caller that did not read during the stall must not get the old frame as the newest."""
    case.camera.start()
    await case.frame()
    case.driver.give()
    await asyncio.to_thread(case.driver.wait_for, lambda: case.driver.seq > case.seq)
    case.driver.fall_silent()
    case.clock.at_ms += STALL_MS
    assert (await case.error()).code == "camera_stalled"


async def test_stop_and_start_with_a_hanging_driver_are_bounded_and_raise(case: Case) -> None:
    case.camera.start()
    case.driver.hangs = {"grab", "close"}
    case.camera.stop()
    with pytest.raises(CameraError, match="driver hangs"):
        case.camera.start()
    assert (await case.error()).code == "camera_stalled"
    case.driver.let_go()
    abandoned = case.camera._abandoned
    assert abandoned is not None
    await asyncio.to_thread(abandoned.thread.join, 20)  # otherwise that thread takes the frame
    await case.frame()  # after the driver has returned, the camera opens without a further start()


def capture_start(case: Case) -> None:
    """``start`` without its wait of two real seconds for an opening that hangs."""
    case.camera._capture = capture.Capture(case.driver, case.clock)


async def test_a_recording_that_is_over_ends_the_process_only_after_ten_minutes(case: Case) -> None:
    """Also after a long recording: an operator may still read the status."""
    began_ms = case.clock.at_ms
    case.camera.start()
    await case.runs_for(MINUTE_MS)
    case.driver.refuses = CameraError("the scene is over", fix=Text("fix.set_camera_loop"))
    case.driver.close()
    async with asyncio.timeout(60):
        while "over" not in str(error := await case.error()):  # noqa: ASYNC110 - ends in its own thread
            await asyncio.sleep(0.002)
    assert error.bounded_until_ms > case.clock.at_ms and not isinstance(error, CameraHung)
    case.clock.at_ms = began_ms + PATIENCE_MS
    assert isinstance(await case.error(), CameraHung)
