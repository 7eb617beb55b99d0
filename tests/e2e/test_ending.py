"""The end of the agent in this process, with a real broker: events during the stop, and the last messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config
from agent.config.file import load
from agent.core.model import Frame, Request
from agent.core.ports import Camera, ClaimStore
from agent.errors import CameraHung
from agent.outbox.database import FILE
from agent.root import reload as reload_module
from agent.root.cameras import make_camera
from agent.root.daemon import Overrides, serve
from agent.root.handle import AgentHandle
from agent.root.reload import Source
from agent.root.runnable_config import load_runnable_config
from agent.root.wiring import BootClock
from agent.terminal.parts import Ports
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, Place, till_of, until


class Wrapped:
    """The replay camera; a test can let it hang and is notified of its stop."""

    def __init__(self, config: Config) -> None:
        self._camera: Camera = make_camera(config.camera, BootClock())
        self.hung = False
        self.on_stop: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._camera.start()

    async def next_frame(self, after_seq: int) -> Frame:
        if self.hung:
            raise CameraHung("its driver hangs")
        return await self._camera.next_frame(after_seq)

    def stop(self) -> None:
        self._camera.stop()
        self.on_stop()


class SlowClaim:
    """The outbox on a disk that needs half a second for a claim."""

    def __init__(self, claim_store: ClaimStore, claiming: asyncio.Event) -> None:
        self._claim_store = claim_store
        self._claiming = claiming
        self.find, self.settle = claim_store.find, claim_store.settle

    async def claim(self, request: Request) -> None:
        self._claiming.set()
        await asyncio.sleep(0.5)
        await self._claim_store.claim(request)


@asynccontextmanager
async def serving(
    path: Path, camera: Wrapped, source: Source, adapt: Callable[[Ports], Ports] = lambda ports: ports
) -> AsyncIterator[tuple[asyncio.Event, asyncio.Task[None]]]:
    stop, ready = asyncio.Event(), asyncio.Queue[AgentHandle]()
    overrides = Overrides(camera, adapt, ready.put_nowait)
    task = asyncio.create_task(serve(load(path, Config), stop, overrides, source))
    await asyncio.wait_for(ready.get(), 60)
    try:
        yield stop, task
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)


async def test_request_that_is_claimed_during_the_stop_gets_one_result(
    place: Place,
) -> None:
    path, claiming = place.config("one_obama_podium"), asyncio.Event()
    camera = Wrapped(load(path, Config))

    def adapt(ports: Ports) -> Ports:
        return replace(ports, claim_store=SlowClaim(ports.claim_store, claiming))

    async with serving(path, camera, Source(), adapt) as (stop, task), till_of(place) as (till, states):
        await until(states, "online")
        asking = asyncio.create_task(till.ask(ENROLLED, ttl_ms=LONG_TTL_MS))
        await asyncio.wait_for(claiming.wait(), 60)
        stop.set()
        verdict = await asyncio.wait_for(asking, 60)
        assert (verdict.decision, verdict.reason) == ("undecided", "interrupted")
        await task
    assert _rows(place) == [(verdict.result["result_id"],)], "one result, which the till received"


async def test_hung_camera_ends_the_agent_with_stopping_and_offline(place: Place) -> None:
    path = place.config("empty")
    camera = Wrapped(load(path, Config))
    async with serving(path, camera, Source()) as (_, task), till_of(place) as (_, states):
        await until(states, "online")
        camera.hung = True
        assert [await asyncio.wait_for(states.get(), 60) for _ in range(2)] == ["stopping", "offline"]
        with pytest.raises(CameraHung):
            await task


async def test_reload_during_the_stop_is_no_bug(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = place.config("empty")
    camera, source, reading = Wrapped(load(path, Config)), Source(path), asyncio.Event()
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def slowly(path: Path) -> Config:
        loop.call_soon_threadsafe(reading.set)
        asyncio.run_coroutine_threadsafe(stopped.wait(), loop).result(60)
        return load_runnable_config(path)

    camera.on_stop = stopped.set
    monkeypatch.setattr(reload_module, "load_runnable_config", slowly)
    with caplog.at_level(logging.WARNING):
        async with serving(path, camera, source) as (stop, task):
            source.requested.set()
            await asyncio.wait_for(reading.wait(), 60)
            stop.set()
            await asyncio.wait_for(task, 60)
    assert _bugs(caplog) == []


def _bugs(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.getMessage().startswith("bug_in")]


def _rows(place: Place) -> list[Any]:
    import sqlite3

    db = sqlite3.connect(place.folder / "state" / FILE)
    try:
        return db.execute("SELECT result_id FROM result").fetchall()
    finally:
        db.close()
