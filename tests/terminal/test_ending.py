"""Stop of the terminal during a claim or a camera start."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from agent.core.model import Request
from agent.core.ports import RequestReceived
from agent.core.reasons import Refusal
from agent.errors import CameraHung
from agent.terminal.frame_loop import WatchdogSignal
from tests.fakes import MemoryClaimStore, PacedCamera, check_frame, request
from tests.terminal.test_terminal import TerminalSetup, serving


class SlowClaimStore(MemoryClaimStore):
    """A slow disk: a claim is stored even if its caller is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.claiming, self.written = asyncio.Event(), asyncio.Event()

    async def claim(self, request: Request) -> None:
        self.claiming.set()
        await asyncio.shield(asyncio.create_task(self._write(request)))

    async def _write(self, request: Request) -> None:
        await self.written.wait()
        await super().claim(request)


class SlowCamera(PacedCamera):
    """A camera with a slow start; ``runs`` is its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.opening, self.opens, self.runs = threading.Event(), threading.Event(), False

    def start(self) -> None:
        self.opening.set()
        assert self.opens.wait(60)
        self.runs = True

    def stop(self) -> None:
        self.runs = False


async def test_stop_during_a_claim_answers_the_request() -> None:
    claim_store = SlowClaimStore()
    setup = TerminalSetup(claim_store=claim_store)
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        await claim_store.claiming.wait()
        setup.stop.set()
        await asyncio.sleep(0.05)  # the stop is running
        claim_store.written.set()
        assert await setup.verdict() == "undecided/interrupted"
    assert len(setup.till.delivered) == len(claim_store.settled) == 1
    assert setup.compare.calls == []


async def test_request_after_the_start_of_the_stop_is_refused() -> None:
    claim_store = SlowClaimStore()
    setup = TerminalSetup(claim_store=claim_store)
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        await claim_store.claiming.wait()
        setup.stop.set()
        await setup.till.inbox.put(RequestReceived(request("r-2")))
        await asyncio.sleep(0.05)
        claim_store.written.set()
        await setup.till.until(lambda: Refusal.STOPPING in setup.refusals())
    assert [key for _, key in claim_store.rows] == ["r-1"]


async def test_stop_with_a_hung_disk_is_bounded() -> None:
    """The next process answers a claim that was stored."""
    claim_store = SlowClaimStore()
    setup = TerminalSetup(claim_store=claim_store)
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        await claim_store.claiming.wait()
        setup.stop.set()
    assert setup.till.delivered == []
    claim_store.written.set()


@pytest.mark.real_time
async def test_stop_during_a_camera_restart_leaves_the_camera_stopped() -> None:
    camera = SlowCamera()
    setup = TerminalSetup(camera=camera)
    setup.terminal._frames._check_frame = lambda frame: replace(check_frame(frame), frozen=True)
    async with serving(setup):
        await asyncio.to_thread(camera.opening.wait, 60)
    camera.stop()  # as the composition root does after serving
    camera.opens.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # waits for the start that is still running
    assert not camera.runs


async def test_hung_camera_sets_the_stop_event() -> None:
    setup = TerminalSetup()
    setup.camera.broken = CameraHung("open does not return")
    async with asyncio.timeout(60):
        with pytest.raises(CameraHung):
            await setup.terminal.serve(setup.stop)
        await setup.stop.wait()


async def test_cancelled_terminal_leaves_no_task() -> None:
    """A caller that fails cancels it, and closes the parts that the tasks use."""
    setup = TerminalSetup()
    before = asyncio.all_tasks()
    async with asyncio.timeout(60):
        running = asyncio.create_task(setup.terminal.serve(setup.stop))
        await setup.till.inbox.put(RequestReceived(request()))
        await setup.till.until(lambda: setup.terminal.open_verification.is_open)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled() and asyncio.all_tasks() <= before
    setup.terminal.close()


async def test_cancelled_intake_finishes_the_message_that_it_handles() -> None:
    """A claim that is being stored becomes durable, and each durable claim needs an answer."""
    claim_store = SlowClaimStore()
    setup = TerminalSetup(claim_store=claim_store)
    intake = setup.terminal._intake
    running = asyncio.create_task(intake.run())
    await setup.till.inbox.put(RequestReceived(request()))
    await claim_store.claiming.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    (open_task,) = intake.open_tasks
    claim_store.written.set()
    await open_task
    setup.terminal.open_verification.current = None
    verifications = setup.terminal._verify_tasks
    for each in verifications:
        each.cancel()
    await asyncio.gather(*verifications, return_exceptions=True)
    assert [key for _, key in claim_store.rows] == ["r-1"]


class BrokenClaimStore(MemoryClaimStore):
    async def claim(self, request: Request) -> None:
        raise RuntimeError("a bug")


async def test_request_whose_handling_has_a_bug_is_refused_and_the_next_one_is_served() -> None:
    setup = TerminalSetup(claim_store=BrokenClaimStore())
    async with serving(setup):
        for number in ("r-1", "r-2"):
            await setup.till.inbox.put(RequestReceived(request(number)))
        await setup.till.until(lambda: setup.refusals() == [Refusal.NOT_READY] * 2)


async def test_end_of_a_verification_deletes_the_face_from_the_analyzer() -> None:
    setup = TerminalSetup()
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        await setup.verdict()
        await asyncio.get_running_loop().run_in_executor(setup.terminal.worker, lambda: None)
        assert setup.analyzer.begun == 2, "at the start and at the end"


def test_watchdog_signal_ends_exactly_with_the_recovery() -> None:
    signal = WatchdogSignal()
    signal.record_recovery(until_ms=1_000)
    assert signal.poll(999) and not signal.poll(1_000)
    signal.record_fresh_frame()
    assert signal.poll(1_000) and not signal.poll(1_000)
