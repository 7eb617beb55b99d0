"""Camera failures: effects on verifications, on the retained state and on the watchdog."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agent.core.model import Analysis, CameraHealth, Comparison, Crop, Frame
from agent.core.ports import ImageSource, RequestReceived
from agent.core.reasons import FrameReason
from agent.errors import CameraError, CameraHung, Retry
from agent.health.conditions_board import VERIFICATIONS_FAILING
from agent.health.conditions_camera import NO_PICTURE
from agent.health.result_meter import VERIFICATIONS_MIN
from tests.fakes import PacedCamera, RealClock, ScriptedCompare, check_frame, request
from tests.terminal.test_terminal import LIMITS, TerminalSetup


class CountedCamera(PacedCamera):
    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._note(), self._loop)

    async def _note(self) -> None:
        self.started.set()


@asynccontextmanager
async def serving(setup: TerminalSetup) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(setup.terminal.serve(setup.stop))
    try:
        yield task
    finally:
        setup.stop.set()
        async with asyncio.timeout(60):
            await asyncio.gather(task, return_exceptions=True)


def now_ms() -> int:
    return RealClock().now_ms()


@pytest.mark.parametrize("code", [each.code for each in NO_PICTURE])
async def test_camera_failure_is_a_condition_and_one_reason_for_the_till(code: str) -> None:
    setup = TerminalSetup()
    setup.camera.broken = CameraError("no frames", code=code, retry=Retry.BACKOFF)
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=200)))
        assert await setup.verdict() == "undecided/camera_unavailable"
        assert [held.code for held in setup.terminal.conditions.active] == [code]
        setup.camera.broken = None
        await setup.till.inbox.put(RequestReceived(request("r-2")))
        assert await setup.verdict(2) == "match/same_person"
        assert setup.terminal.conditions.active == ()


async def test_hung_camera_answers_the_open_verification_first() -> None:
    setup = TerminalSetup()
    setup.analyzer.stage = FrameReason.NO_FACE
    async with serving(setup) as task:
        await setup.till.inbox.put(RequestReceived(request(budget_ms=30_000)))
        await setup.till.until(lambda: setup.analyzer.analyses > 0)
        setup.camera.broken = CameraHung("grab does not return")
        assert await setup.verdict() == "undecided/camera_unavailable"
        async with asyncio.timeout(60):
            with pytest.raises(CameraHung, match="grab does not return"):
                await task
    assert setup.claim_store.settled[0].request.request_id == "r-1"


async def test_hung_camera_without_a_request_ends_at_once() -> None:
    setup = TerminalSetup()
    setup.camera.broken = CameraHung("open does not return")
    async with serving(setup) as task, asyncio.timeout(60):
        with pytest.raises(CameraHung):
            await task


async def test_watchdog_gets_signals_from_frames_and_not_from_an_ended_loop() -> None:
    setup = TerminalSetup()
    async with serving(setup):
        await setup.idle(frames=2)
        assert setup.terminal.watchdog_signal.poll(now_ms())
    assert [setup.terminal.watchdog_signal.poll(now_ms()) for _ in range(2)][1] is False


async def test_watchdog_gets_no_signal_from_a_hung_analyzer() -> None:
    setup = TerminalSetup()
    hangs = asyncio.Event()

    async def look(*_: object) -> None:
        hangs.set()
        await asyncio.Event().wait()

    setup.terminal._frames._analyze_frame = look  # type: ignore[method-assign,assignment]
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=300)))
        async with asyncio.timeout(60):
            await hangs.wait()
        setup.terminal.watchdog_signal.poll(now_ms())  # the signal of earlier frames
        assert not setup.terminal.watchdog_signal.poll(now_ms())


@pytest.mark.parametrize(("left_ms", "fed"), [(60_000, True), (-1, False), (None, False)])
async def test_watchdog_gets_signals_during_a_bounded_recovery_only(left_ms: int | None, fed: bool) -> None:
    setup = TerminalSetup()
    setup.camera.broken = CameraError("silent", code="camera_stalled", retry=Retry.BACKOFF)
    setup.camera.broken.bounded_until_ms = 0 if left_ms is None else now_ms() + left_ms
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=100)))
        await setup.verdict()
        assert setup.terminal.watchdog_signal.poll(now_ms()) is fed


async def test_frozen_camera_is_restarted_and_its_frames_give_no_signal() -> None:
    camera = CountedCamera()
    setup = TerminalSetup(camera=camera)
    setup.terminal._frames._check_frame = lambda frame: replace(check_frame(frame), frozen=True)
    async with serving(setup):
        async with asyncio.timeout(60):
            await camera.started.wait()
        await setup.idle(frames=2)
        watchdog_signal = setup.terminal.watchdog_signal
        assert watchdog_signal.poll(now_ms()), "the restart is running"
        assert not watchdog_signal.poll(now_ms() + 60_000), "the restart has a time limit"
        assert [held.code for held in setup.terminal.conditions.active] == ["camera_frozen"]


async def test_repeated_frames_of_a_coded_stream_are_no_face_and_the_payer_is_served_after_them() -> None:
    setup, several = TerminalSetup(), asyncio.Event()

    def repeated(frame: Frame) -> CameraHealth:
        if setup.terminal.counters.frames[FrameReason.NO_FACE] >= 3:
            several.set()
        return replace(check_frame(frame), repeated_ms=2_000)

    setup.terminal._frames._check_frame = repeated
    async with serving(setup), asyncio.timeout(60):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=30_000)))
        await several.wait()
        assert setup.analyzer.analyses == 0 and setup.terminal.conditions.active == ()
        setup.terminal._frames._check_frame = check_frame
        assert await setup.verdict() == "match/same_person"


async def test_frame_that_repeats_a_picture_is_not_analyzed() -> None:
    """A stream that sends each picture twice: a rule of two frames needs two pictures."""
    setup, analyzed = TerminalSetup(), list[int]()
    setup.terminal._frames._check_frame = lambda frame: replace(
        check_frame(frame), is_repeated=frame.seq % 2 == 0
    )
    analyze = setup.analyzer.analyze

    def noted(frame: Frame) -> Analysis:
        analyzed.append(frame.seq)
        return analyze(frame)

    setup.analyzer.analyze = noted  # type: ignore[method-assign]
    async with serving(setup), asyncio.timeout(60):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=30_000)))
        assert await setup.verdict() == "match/same_person"
    assert len(analyzed) >= 2 and all(seq % 2 for seq in analyzed)


async def test_first_frame_of_a_verification_is_analyzed_also_when_it_repeats_a_picture() -> None:
    """A dark scene with little noise: without a frame, the reason would be a missing camera."""
    setup = TerminalSetup()
    setup.analyzer.stage = FrameReason.NO_FACE
    setup.terminal._frames._check_frame = lambda frame: replace(check_frame(frame), is_repeated=True)
    async with serving(setup), asyncio.timeout(60):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=1_000)))
        assert await setup.verdict() == "undecided/no_face"
    assert setup.analyzer.analyses == 1


async def test_repeated_pictures_do_not_show_a_slow_processor() -> None:
    """Few of these frames are analyzed, because the others show nothing new."""
    setup = TerminalSetup()
    setup.analyzer.stage = FrameReason.NO_FACE
    setup.terminal._frames._check_frame = lambda frame: replace(check_frame(frame), is_repeated=True)
    async with serving(setup), asyncio.timeout(60):
        for number in range(VERIFICATIONS_MIN):
            await setup.till.inbox.put(RequestReceived(request(f"r-{number}", budget_ms=4_000)))
            assert await setup.verdict(number + 1) == "undecided/no_face"
    assert setup.analyzer.analyses == VERIFICATIONS_MIN
    assert VERIFICATIONS_FAILING not in setup.terminal.conditions.active


class CallDuringRepeats(ScriptedCompare):
    """The stream repeats its picture from the start of the call; the answer arrives after the gap began."""

    def __init__(self, setup: TerminalSetup) -> None:
        super().__init__(93.0)
        self._frames = setup.terminal._frames
        self._first_ms = 0
        self._gap = asyncio.Event()

    async def call(
        self, reference: ImageSource, crop: Crop, number: int, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        self._frames._check_frame = self._repeated
        await self._gap.wait()
        return await super().call(reference, crop, number, timeout_ms, on_sent)

    def _repeated(self, frame: Frame) -> CameraHealth:
        self._first_ms = self._first_ms or frame.captured_ms
        if frame.captured_ms - self._first_ms > 2 * LIMITS.fresh_ms:
            self._gap.set()
        return replace(check_frame(frame), repeated_ms=2_000)


@pytest.mark.parametrize(
    ("moves_again", "verdict"), [(True, "match/same_person"), (False, "undecided/face_lost")]
)
async def test_match_waits_for_a_fresh_picture_while_a_stream_repeats_an_old_picture(
    moves_again: bool, verdict: str
) -> None:
    setup = TerminalSetup()
    compare = CallDuringRepeats(setup)
    setup.terminal._ports = replace(setup.terminal._ports, compare=compare)
    settings = setup.terminal._settings
    setup.terminal._settings = replace(settings, limits=replace(LIMITS, ask_timeout_ms=20_000))
    async with serving(setup), asyncio.timeout(60):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=30_000 if moves_again else 5_000)))
        while not compare.answered:  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0.005)
        counted = setup.terminal.counters.frames
        until = counted[FrameReason.NO_FACE] + 5
        while moves_again and counted[FrameReason.NO_FACE] < until:
            assert not setup.till.delivered, "an old picture does not confirm the payer"
            await asyncio.sleep(0.005)
        if moves_again:
            setup.terminal._frames._check_frame = check_frame
        await setup.till.until(lambda: bool(setup.till.delivered), timeout_s=60)
        assert await setup.verdict() == verdict
