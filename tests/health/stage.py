"""The agent with a real broker and a real compare service, for fault injection.

A scenario injects a fault into a stage, yields while the fault lasts, and removes the fault. The faults are
outside the agent: in the camera, the broker, the service, the files, the clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.camera.simulated.cameras import SceneCamera
from agent.camera.simulated.scene import Scene, load_scene
from agent.camera.source import NewestFrameSource
from agent.config import Config
from agent.config.file import load
from agent.core.model import Frame
from agent.errors import CameraError
from agent.kits.till.client import TillClient
from agent.root.daemon import Overrides, serve
from agent.root.handle import AgentHandle
from agent.root.wiring import BootClock
from agent.service.compare_service import CompareService
from agent.service.faults import InjectedFault
from agent.service.settings import AccountConfig
from agent.terminal.parts import Ports
from tests.brokers import Mosquitto
from tests.diagnostics.kit import TerminalFiles
from tests.e2e.agents import ENROLLED, TOPICS
from tests.service.kit import account, slow_machine_config

WAIT_S = 120.0  # on a machine with other work; each wait ends with its event
# An API call and a verification of such a machine. A scenario with a slow API sets its own limit.
LONG_LIMITS = {"ask_timeout_ms": 20_000, "budget_ms": 40_000}

PHOTO_SHA256 = hashlib.sha256(ENROLLED).hexdigest()
Scenario = Callable[["Stage"], AbstractAsyncContextManager[None]]


class Cable(SceneCamera):
    """A simulated camera that can fail to open, deliver no frame, or repeat the last frame."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.camera, BootClock(), load_scene("one_obama_podium"))
        self.broken: CameraError | None = None
        self.frozen = self.silent = False
        self.change: Callable[[Any], Any] = lambda pixels: pixels
        self._pixels: object = None

    def open(self) -> None:
        self._check()
        super().open()

    def grab(self) -> Frame:
        self._check()
        while self.silent:
            self._timer.wait()  # until close
        frame = super().grab()
        if self.frozen:
            return Frame(self._pixels, frame.seq, frame.captured_ms, frame.width_px, frame.height_px)
        self._pixels = self.change(frame.pixels)
        return replace(frame, pixels=self._pixels)

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken


@dataclass
class Stage:
    """A terminal and its environment. ``config``: section -> keys, changed before ``start``."""

    place: TerminalFiles
    broker: Mosquitto
    service: CompareService
    config: dict[str, dict[str, Any]] = field(default_factory=dict)
    adapt: Callable[[Ports], Ports] = lambda ports: ports
    requests: int = 0

    async def start(self) -> None:
        """Start the agent in this process, also again after ``stop``."""
        config, self._stop, ready = self.agent_config(), asyncio.Event(), asyncio.Queue[AgentHandle]()
        self.cable = Cable(config)
        camera = NewestFrameSource(self.cable, BootClock(), stall_ms=config.camera.stall_ms)
        overrides = Overrides(camera, self.adapt, ready.put_nowait)
        self._serving = asyncio.create_task(serve(config, self._stop, overrides))
        started = asyncio.create_task(ready.get())
        await asyncio.wait([self._serving, started], return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            started.cancel()
            await self._serving
        self.running = started.result()

    async def stop(self) -> None:
        self._stop.set()
        await self._serving

    def agent_config(self) -> Config:
        self.place.url = self.service.url
        made = load(self.place.write(), Config)
        changes = {"verification": LONG_LIMITS} | self.config
        return made.model_copy(
            update={name: getattr(made, name).model_copy(update=keys) for name, keys in changes.items()}
        )

    async def verify(self, ttl_ms: int = LONG_LIMITS["budget_ms"], *, photo: bytes | str = ENROLLED) -> str:
        """Run one verification of the payer in the scene. Returns "decision/reason"."""
        self.requests += 1
        till = TillClient(
            self.agent_config().mqtt, TOPICS, f"till-{self.requests}", pinned=self.running.public_key
        )
        await till.start()
        try:
            verdict = await till.ask(photo, sha256=PHOTO_SHA256, ttl_ms=ttl_ms)
        finally:
            await till.stop()
        return f"{verdict.decision}/{verdict.reason}"

    async def serve_account(self, **changes: Any) -> None:
        """Stop the compare service and start it with another account."""
        await self.service.stop()
        made: AccountConfig = account("AKIDEXAMPLEEXAMPLEEXAMPLE", **changes)
        self.service._config = self.service._config.model_copy(update={"accounts": (made,)})
        await self.service.start()

    async def serve_with(self, *faults: InjectedFault) -> None:
        """Stop the compare service and start it with these faults, on the same port."""
        await self.service.stop()
        self.service._faults = faults
        await self.service.start()

    def light(self, gain: float) -> None:
        self.cable.show(Scene(light=gain, noise=1.0))

    def causes(self) -> list[str]:
        return [each.code for each in self.running.terminal.conditions.causes]

    def shown(self) -> list[str]:
        return [each.condition.code for each in self.running.terminal.conditions.shown]

    async def until(self, holds: Callable[[], bool]) -> None:
        until_s = time.monotonic() + WAIT_S
        while not holds():  # a condition becomes visible by age, without an event
            assert time.monotonic() < until_s, self.shown()
            await asyncio.sleep(0.02)


def make_stage(folder: Path) -> Stage:
    broker = Mosquitto(folder)
    return Stage(TerminalFiles(folder, "", broker.port), broker, CompareService(slow_machine_config()))
