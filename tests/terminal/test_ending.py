"""The end, when it falls into the middle of something."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from agent.core.model import Request
from agent.core.ports import RequestReceived
from agent.core.reasons import Refusal
from agent.errors import CameraHung
from tests.fakes import MemoryLedger, PacedCamera, glance, request
from tests.terminal.test_terminal import World, serving


class SlowLedger(MemoryLedger):
    """A disk that takes its time over a claim, and stores it whatever its caller does meanwhile."""

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
    """Takes long to open; ``runs`` is what it does in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.opening, self.opens, self.runs = threading.Event(), threading.Event(), False

    def start(self) -> None:
        self.opening.set()
        assert self.opens.wait(5)
        self.runs = True

    def stop(self) -> None:
        self.runs = False


async def test_a_request_that_is_being_claimed_at_the_end_is_answered_before_it() -> None:
    ledger = SlowLedger()
    world = World(ledger=ledger)
    async with serving(world):
        await world.till.inbox.put(RequestReceived(request()))
        await ledger.claiming.wait()
        world.stop.set()
        await asyncio.sleep(0.05)  # the end is under way
        ledger.written.set()
        assert await world.verdict() == "undecided/interrupted"
    assert len(world.till.delivered) == len(ledger.settled) == 1
    assert world.compare.asked == []


async def test_what_comes_after_the_end_began_is_refused_and_never_claimed() -> None:
    ledger = SlowLedger()
    world = World(ledger=ledger)
    async with serving(world):
        await world.till.inbox.put(RequestReceived(request()))
        await ledger.claiming.wait()
        world.stop.set()
        await world.till.inbox.put(RequestReceived(request("r-2")))
        await asyncio.sleep(0.05)
        ledger.written.set()
        await world.till.until(lambda: Refusal.STOPPING in world.refusals())
    assert [key for _, key in ledger.rows] == ["r-1"]


async def test_a_disk_that_does_not_answer_holds_the_end_up_for_a_bounded_time() -> None:
    """Then the claim, if it was stored, is answered by the next process."""
    ledger = SlowLedger()
    world = World(ledger=ledger)
    async with serving(world):
        await world.till.inbox.put(RequestReceived(request()))
        await ledger.claiming.wait()
        world.stop.set()
    assert world.till.delivered == []
    ledger.written.set()


async def test_a_camera_that_is_being_started_anew_at_the_end_does_not_run_after_it() -> None:
    camera = SlowCamera()
    world = World(camera=camera)
    world.terminal._frames._glance = lambda frame: replace(glance(frame), frozen=True)
    async with serving(world):
        await asyncio.to_thread(camera.opening.wait, 5)
    camera.stop()  # as the root does, once nobody is served any more
    camera.opens.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # waits for what is still opening
    assert not camera.runs


async def test_an_end_of_its_own_is_heard_by_whoever_waits_for_the_end() -> None:
    world = World()
    world.camera.broken = CameraHung("open does not return")
    async with asyncio.timeout(5):
        with pytest.raises(CameraHung):
            await world.terminal.serve(world.stop)
        await world.stop.wait()
