"""Ctrl-C or an error during a visit of the demo. After Ctrl-C, `asyncio.run` cancels the visits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from agent.demo import demo_system
from agent.demo.demo_system import VISITS, DemoSystem, running_demo
from agent.errors import AgentError, CameraError, TillError
from agent.messages.signing import Signer

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


@pytest.mark.parametrize("error", [CameraError("no camera"), TillError("no PUBACK")], ids=["agent", "till"])
async def test_error_of_a_part_is_raised_itself(error: AgentError, monkeypatch: pytest.MonkeyPatch) -> None:
    """`facepay init --try` prints its code and fix. In an exception group it was a traceback."""

    async def serve(_config: object, stop: asyncio.Event, overrides: Any) -> None:
        if isinstance(error, CameraError):
            raise error
        overrides.on_ready(SimpleNamespace(public_key=Signer.generate().public))
        await stop.wait()

    monkeypatch.setattr(demo_system, "serve", serve)
    with pytest.raises(type(error)) as raised:
        async with running_demo():
            raise error
    assert raised.value is error
