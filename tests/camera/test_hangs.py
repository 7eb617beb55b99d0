"""Drivers that hang, stall and come back, behind the real capture thread; the clock is turned by hand."""

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
    """A camera whose driver does what drivers do: gives frames, falls silent, hangs in a call, comes back.

    ``hangs``: calls that do not return until ``let_go``. ``cures``: what ends a silence. A ``grab`` that
    waits ends with the close, unless it hangs.
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
            self._heal("open")

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

    # --- what a test does to it -------------------------------------------------------------------

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

    def is_tried_again(self) -> bool:
        """It was opened since the last time this was so."""
        before, self._tries = self._tries, self.called.count("open")
        return self._tries > before

    def wait_for(self, holds: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(holds, timeout=20)

    # ----------------------------------------------------------------------------------------------

    def _ready(self) -> bool:
        if "grab" in self.hangs:
            return False
        return not self._is_open or (self._due > 0 and not self._silent)

    def _remedy(self, name: str) -> Callable[[], None]:
        def act() -> None:
            self._call(name)
            with self._changed:
                self._heal(name)
                self._changed.notify_all()

        return act

    def _heal(self, by: str) -> None:
        if by in self.cures:
            self._silent = False
            self._due = 1

    def _call(self, name: str) -> None:
        with self._changed:
            self.called.append(name)
            self._changed.notify_all()
            self._changed.wait_for(lambda: name not in self.hangs or self._let_go)


class Case:
    """A source on a driver, and the frame loop's way to ask it."""

    def __init__(self, *remedies: str) -> None:
        self.clock = HandClock()
        self.driver = Driver(self.clock, *remedies)
        self.camera = NewestFrameSource(self.driver, self.clock, stall_ms=STALL_MS)
        self.seq = 0

    async def frame(self) -> None:
        """One goes through, in the end: as the frame loop does, errors are waited out."""
        self.driver.give()
        await self.heals()

    async def heals(self) -> None:
        async with asyncio.timeout(20):
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

    async def trouble(self) -> CameraError:
        async with asyncio.timeout(20):
            with pytest.raises(CameraError) as caught:
                await self.camera.next_frame(self.seq)
        return caught.value

    async def until(self, *called: str) -> None:
        """The driver was called like this, in the end."""
        async with asyncio.timeout(20):
            while self.driver.called != [*called]:
                try:
                    self.seq = (await self.camera.next_frame(self.seq)).seq
                except CameraError:
                    await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_STOP_S", 0.1)
    monkeypatch.setattr(capture, "_RESTS_MS", (1,))


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


async def test_a_stall_is_cured_by_the_gentlest_remedy(case: Case) -> None:
    case.driver.cures = {"cancel"}
    await stalled(case)
    assert (await case.trouble()).code == "camera_stalled"
    await case.heals()
    assert case.driver.called == ["open", "cancel"]


async def test_what_cancelling_does_not_cure_a_restart_does(case: Case) -> None:
    case.driver.cures = {"restart"}
    await stalled(case)
    await case.until("open", "cancel")
    case.clock.at_ms += STEP_MS
    await case.heals()
    assert case.driver.called == ["open", "cancel", "restart"]


async def test_what_no_remedy_cures_opening_again_does(case: Case) -> None:
    await stalled(case)
    await case.until("open", "cancel")
    case.clock.at_ms += STEP_MS
    await case.until("open", "cancel", "restart")
    case.driver.cures = {"open"}
    case.clock.at_ms += STEP_MS
    await case.heals()
    assert case.driver.called[3:].count("open") == 1


async def test_a_camera_without_remedies_is_opened_again_at_once() -> None:
    case = Case()
    case.driver.cures = {"open"}
    await stalled(case)
    await case.heals()
    assert case.driver.called.count("open") == 2
    case.camera.stop()


async def test_a_remedy_that_hangs_is_left_behind_and_the_next_one_taken(case: Case) -> None:
    case.driver.hangs = {"cancel"}
    case.driver.cures = {"restart"}
    await stalled(case)
    await case.until("open", "cancel")
    case.clock.at_ms += STEP_MS
    await case.heals()
    await case.frame()


@pytest.mark.parametrize("call", ["grab", "close"])
async def test_a_driver_that_hangs_after_a_minute_of_pictures_ends_the_process(case: Case, call: str) -> None:
    case.camera.start()
    await case.runs_for(MINUTE_MS)
    case.driver.fall_silent()
    case.driver.hangs = {call}
    case.clock.at_ms += STALL_MS
    seen: list[CameraError] = []
    for step_ms in (0, STEP_MS, STEP_MS, CLOSE_MS, CLOSE_MS, CLOSE_MS):
        case.clock.at_ms += step_ms
        seen.append(await case.trouble())
    assert seen[0].code == "camera_stalled" and not isinstance(seen[0], CameraHung)
    assert isinstance(seen[-1], CameraHung)
    assert seen[-1].exit_code == 74 and en(seen[-1].fix) and zh(seen[-1].fix)


async def test_a_driver_that_hangs_from_the_start_ends_the_process_only_after_ten_minutes(case: Case) -> None:
    case.driver.hangs = {"open"}
    began_ms = case.clock.at_ms
    capture_start(case)
    case.clock.at_ms += OPEN_MS
    error = await case.trouble()
    assert error.code == "camera_stalled"
    assert case.clock.at_ms < error.bounded_until_ms < case.clock.at_ms + 5_000, "asked again, not trusted"
    case.clock.at_ms = began_ms + PATIENCE_MS - 1
    assert not isinstance(await case.trouble(), CameraHung)
    case.clock.at_ms += 1
    assert isinstance(await case.trouble(), CameraHung)


async def test_an_opening_that_takes_long_is_under_way_until_it_is_missed(case: Case) -> None:
    case.driver.hangs = {"open"}
    capture_start(case)
    case.clock.at_ms += STALL_MS
    error = await case.trouble()
    assert case.clock.at_ms < error.bounded_until_ms <= case.clock.at_ms + OPEN_MS
    case.driver.let_go()
    await case.frame()


async def test_an_absent_camera_is_tried_again_for_ever_and_ends_no_process(case: Case) -> None:
    case.driver.refuses = CameraError("no such device", code="camera_absent", retry=Retry.BACKOFF)
    with pytest.raises(CameraError, match="no such device"):
        case.camera.start()
    for _ in range(20):
        case.clock.at_ms += MINUTE_MS
        await asyncio.to_thread(case.driver.wait_for, case.driver.is_tried_again)
        error = await case.trouble()
        assert error.code == "camera_absent" and not isinstance(error, CameraHung)
    case.driver.refuses = None
    await case.frame()


async def test_a_frame_from_before_the_stall_is_nobodys_frame(case: Case) -> None:
    """Whoever was away while the camera fell silent must not get the last picture as the newest."""
    case.camera.start()
    await case.frame()
    case.driver.give()
    await asyncio.to_thread(case.driver.wait_for, lambda: case.driver.seq > case.seq)
    case.driver.fall_silent()
    case.clock.at_ms += STALL_MS
    assert (await case.trouble()).code == "camera_stalled"


async def test_stop_and_start_over_a_hanging_driver_are_bounded_and_say_so(case: Case) -> None:
    case.camera.start()
    case.driver.hangs = {"grab", "close"}
    case.camera.stop()
    with pytest.raises(CameraError, match="driver hangs"):
        case.camera.start()
    assert (await case.trouble()).code == "camera_stalled"
    case.driver.let_go()
    left_behind = case.camera._abandoned
    assert left_behind is not None
    await asyncio.to_thread(left_behind.thread.join, 20)  # else it takes the frame along
    await case.frame()  # once it came back, it is opened without being asked again


def capture_start(case: Case) -> None:
    """``start`` waits two real seconds for an opening that hangs; its thread is what matters here."""
    case.camera._capture = capture.Capture(case.driver, case.clock)


async def test_a_recording_that_is_over_ends_the_process_only_after_ten_minutes(case: Case) -> None:
    """However long it was: whoever replays one may want to look at what became of it."""
    began_ms = case.clock.at_ms
    case.camera.start()
    await case.runs_for(MINUTE_MS)
    case.driver.refuses = CameraError("the scene is over", fix=Text("fix.set_camera_loop"))
    case.driver.close()
    async with asyncio.timeout(20):
        while "over" not in str(error := await case.trouble()):  # noqa: ASYNC110 - it dies in its own thread
            await asyncio.sleep(0.002)
    assert error.bounded_until_ms > case.clock.at_ms and not isinstance(error, CameraHung)
    case.clock.at_ms = began_ms + PATIENCE_MS
    assert isinstance(await case.trouble(), CameraHung)
