"""The layers of the payer's screen around the ports: every event is shown, and no verification waits."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from agent.core.model import Frame
from agent.core.payer_screen import Ended, Ending, Guiding, Idle, Screen, ScreenEvent
from agent.core.ports import RequestReceived, StoredResult
from agent.core.reasons import Decision, FrameReason, Guidance, Reason
from agent.errors import StorageError
from agent.page.payer_display import PayerDisplay
from agent.root.display import ObservedClaimStore, ObservedTill
from agent.terminal.parts import Ports
from tests.fakes import MemoryClaimStore, QueueTill, RealClock, request
from tests.page.display_kit import result
from tests.terminal.test_terminal import TerminalSetup, serving


def never_late(_: StoredResult) -> bool:
    return False


class RecordingDisplay(PayerDisplay):
    """Records each screen."""

    def __init__(self) -> None:
        super().__init__(RealClock().now_ms, lambda _: b"", ThreadPoolExecutor(1))
        self.screens: list[Screen] = []

    def observe(self, event: ScreenEvent | None) -> None:
        super().observe(event)
        if not self.screens or self.screens[-1] is not self.screen:
            self.screens.append(self.screen)


def with_screen(setup: TerminalSetup, display: PayerDisplay) -> None:
    """Put the layers around the ports of the terminal that is not started yet."""
    terminal = setup.terminal

    def layered(ports: Ports) -> Ports:
        till, claim_store = (
            ObservedTill(ports.till, display.observe),
            ObservedClaimStore(ports.claim_store, display.observe, never_late),
        )
        return replace(ports, till=till, claim_store=claim_store)

    setup.terminal = type(terminal)(layered(terminal._ports), terminal._settings)


@pytest.mark.parametrize(
    ("stage", "hint", "ending"),
    [
        (FrameReason.SHOT, Guidance.HOLD_STILL, Ending.RECOGNISED),
        (FrameReason.TOO_SMALL, Guidance.COME_CLOSER, Ending.NOT_THIS_TIME),
    ],
)
async def test_verification_is_shown_from_its_start_to_its_result(
    stage: FrameReason, hint: Guidance, ending: Ending
) -> None:
    setup, display = TerminalSetup(), RecordingDisplay()
    with_screen(setup, display)
    setup.analyzer.stage = stage
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=600)))
        await setup.verdict()
    first, *_ = display.screens
    assert isinstance(first, Guiding) and first.hint is Guidance.LOOK_HERE
    assert hint in [each.hint for each in display.screens if isinstance(each, Guiding)]
    endings = [each.ending for each in display.screens if isinstance(each, Ended)]
    assert endings == [ending], "on a busy machine the end can be over by now"


async def test_result_that_is_not_stored_is_not_shown_as_recognised() -> None:
    setup, display = TerminalSetup(), RecordingDisplay()
    with_screen(setup, display)
    setup.claim_store.settle_error = StorageError("the disk is full")
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        await setup.till.until(lambda: bool(setup.refusals()))
    last = display.screens[-1]
    assert isinstance(last, Ended) and last.ending is Ending.ANOTHER_WAY


async def test_outcome_that_was_stored_earlier_is_shown_and_not_the_later_match() -> None:
    claim_store, events = MemoryClaimStore(), list[ScreenEvent]()
    shown, asked = ObservedClaimStore(claim_store, events.append, never_late), request()
    await shown.claim(asked)
    await shown.settle(result(asked, Decision.UNDECIDED, Reason.INTERRUPTED))
    await shown.settle(result(asked, Decision.MATCH, Reason.SAME_PERSON))
    assert [getattr(each, "decision", None) for each in events] == [Decision.UNDECIDED] * 2


async def test_match_that_is_stored_too_late_to_be_sent_is_not_shown_as_recognised() -> None:
    """A slow disk: the till gets ``result_expired`` in place of the match."""
    claim_store, events, asked = MemoryClaimStore(), list[ScreenEvent](), request()
    shown = ObservedClaimStore(claim_store, events.append, lambda stored: stored.is_match)
    await shown.claim(asked)
    stored = await shown.settle(result(asked, Decision.MATCH, Reason.SAME_PERSON))
    assert stored.is_match, "the stored result stays as it is"
    assert [getattr(each, "decision", None) for each in events] == [Decision.UNDECIDED]


async def test_bug_of_the_screen_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("agent.page.payer_display.advance", broken)
    setup, display = TerminalSetup(), RecordingDisplay()
    with_screen(setup, display)
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        assert await setup.verdict() == "match/same_person"
    assert display.screen == Idle()


@pytest.mark.real_time
async def test_drawing_that_hangs_holds_up_no_frame_and_no_result() -> None:
    """The worker of the screen is a thread of its own, and one frame at most waits for it."""
    setup, display, release = TerminalSetup(), RecordingDisplay(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_: Frame) -> bytes:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(30)
        return b""

    display._draw = hang
    display.viewers = 1
    terminal = setup.terminal
    check = terminal._ports.check_frame

    def offer_and_check(frame: Frame):  # type: ignore[no-untyped-def]
        display.offer(frame)
        return check(frame)

    till, claim_store = QueueTill(), MemoryClaimStore()
    setup.till, setup.claim_store = till, claim_store
    layers = ObservedTill(till, display.observe), ObservedClaimStore(claim_store, display.observe, never_late)
    ports = replace(terminal._ports, till=layers[0], claim_store=layers[1], check_frame=offer_and_check)
    setup.terminal = type(terminal)(ports, terminal._settings)
    try:
        async with serving(setup):
            await setup.till.inbox.put(RequestReceived(request()))
            assert await setup.verdict() == "match/same_person"
            assert display._drawing is not None, "one frame is being drawn"
    finally:
        release.set()
        await display.close()
