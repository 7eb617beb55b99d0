"""Ctrl-C during a visit of the demo: `asyncio.run` cancels the task that plays the visits."""

from __future__ import annotations

import asyncio

from agent.demo.demo_system import VISITS, DemoSystem, running_demo

BUSY_S = 120.0


async def test_demo_cancelled_during_a_verification_leaves_no_task() -> None:
    """A verification that is left would end after the worker of the face analyzer: a traceback."""
    before, started = asyncio.all_tasks(), asyncio.Queue[DemoSystem]()

    async def play() -> None:
        async with running_demo() as demo:
            started.put_nowait(demo)
            while True:
                await demo.play(VISITS[2])  # no person: a verification of some seconds

    playing = asyncio.create_task(play())
    async with asyncio.timeout(BUSY_S):
        demo = await started.get()
        while not demo.agent.terminal.counters.frames_analyzed:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.02)
        playing.cancel()
        await asyncio.wait([playing])
    assert playing.cancelled() and asyncio.all_tasks() == before
