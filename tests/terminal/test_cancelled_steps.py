"""A verification that is cancelled during a step leaves no task, no thread and no reservation."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from agent.core.attempt_limits import AttemptLimits
from agent.core.model import Assurance, Comparison, Crop, Request, Shot
from agent.core.ports import CancelReceived, ImageSource, RequestReceived
from agent.core.verification_types import Limits
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from tests.fakes import EPOCH, RealClock, ScriptedCompare, StagedAnalyzer, check_frame, request
from tests.terminal.test_terminal import TerminalSetup, serving

TIMES = 12
pytestmark = pytest.mark.real_time

WAIT_S = 20.0
LIMITS = Limits(hold_ms=20, ask_timeout_ms=30_000, retry_pause_ms=20, min_ask_ms=10)


class Step:
    """The step named ``slow`` starts and does not end."""

    def __init__(self, slow: str) -> None:
        self.slow, self.began = slow, threading.Event()

    async def wait(self, step: str) -> None:
        if self.slow == step:
            self.began.set()
            await asyncio.Event().wait()


class SlowCompare(ScriptedCompare):
    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    async def prepare(self, request: Request) -> ImageSource:
        await self._step.wait("photo")
        return await super().prepare(request)

    async def call(
        self, reference: ImageSource, crop: Crop, number: int, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        await self._step.wait("api")
        return await super().call(reference, crop, number, timeout_ms, on_sent)


class SlowAnalyzer(StagedAnalyzer):
    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    def crop(self, shot: Shot) -> Crop:
        if self._step.slow == "crop":
            self._step.began.set()
            time.sleep(0.05)
        return super().crop(shot)


def slow_world(step: Step) -> TerminalSetup:
    """A limit of one call per minute: a leaked reservation would use it up."""
    setup = TerminalSetup(compare=SlowCompare(step), analyzer=SlowAnalyzer(step))
    ports = Ports(
        RealClock(), setup.camera, setup.analyzer, setup.compare, setup.till, setup.claim_store, check_frame
    )
    guard = AttemptLimits(calls_per_minute=1)
    setup.terminal = Terminal(ports, Settings(EPOCH, LIMITS, 50, Assurance(), guard=guard))
    return setup


async def cancelled(setup: TerminalSetup, step: Step, number: int) -> None:
    step.began.clear()
    setup.till.inbox.put_nowait(RequestReceived(request(f"r-{number}", budget_ms=60_000)))
    async with asyncio.timeout(WAIT_S):
        while not step.began.is_set():  # noqa: ASYNC110 - set in a thread
            await asyncio.sleep(0.002)
    setup.till.inbox.put_nowait(CancelReceived("till-1", f"r-{number}"))
    assert await setup.verdict(number) == "undecided/cancelled"


async def until_counts_are(tasks: int, threads: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while (  # noqa: ASYNC110 - the end of a task has no event
            len(asyncio.all_tasks()) > tasks or threading.active_count() > threads
        ):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("name", ["photo", "crop", "api"])
async def test_cancelled_step_leaves_no_resources(name: str) -> None:
    step = Step(name)
    async with serving(slow_world(step)) as setup:
        await setup.idle(2)
        tasks, threads = len(asyncio.all_tasks()), threading.active_count()
        for number in range(1, TIMES + 1):
            await cancelled(setup, step, number)
        assert setup.terminal.counters.calls == 0, "nothing was sent"
        # also: the vision thread, the analysis of the frame loop, and at most six asyncio threads for files
        await until_counts_are(tasks + 1, threads + 7)
        step.slow = ""
        setup.till.inbox.put_nowait(RequestReceived(request("r-last", budget_ms=60_000)))
        assert await setup.verdict(TIMES + 1) == "match/same_person"
        assert setup.terminal.counters.calls == 1
