"""The system of the demo on free loopback ports, and the seven visits that it plays."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.camera.simulated.cameras import SceneCamera
from agent.camera.simulated.scene import load_scene
from agent.camera.source import NewestFrameSource
from agent.config import (
    CameraConfig,
    CompareConfig,
    Config,
    MqttConfig,
    StorageConfig,
    TraceConfig,
    VerificationConfig,
)
from agent.config.file import load
from agent.config.temporary_directory import checked_directory
from agent.core.reasons import Reason
from agent.demo.broker import demo_broker
from agent.kits.till.acceptance import Acceptance
from agent.kits.till.client import TillClient
from agent.messages.topics import Topics
from agent.resources import config_file, data
from agent.root.daemon import Overrides, serve
from agent.root.handle import AgentHandle
from agent.root.wiring import BootClock
from agent.safe_write import write_whole
from agent.service.compare_service import CompareService
from agent.service.settings import EXAMPLE_ID, EXAMPLE_SECRET, ServiceConfig

EMPTY_SCENE, HOLDER_WAITS, HOLDER = "empty", "one_obama_podium", "obama_portrait"
TTL_MS = 20_000  # of a visit that ends with its decision, long before this time
EMPTY_TTL_MS = 3_000  # of a visit that ends at its deadline
# for a machine that needs seconds for a comparison: the decisions are the same
SLOW_MACHINE = VerificationConfig(budget_ms=TTL_MS, ask_timeout_ms=10_000)
# Reasons on a machine that was too slow for a moment: no API answer in time, too few frames after the answer
# to confirm the person, a capture thread that did not run.
TOO_SLOW = frozenset(
    {
        Reason.TIMED_OUT,
        Reason.FACE_LOST,
        Reason.COMPARE_UNREACHABLE,
        Reason.CAMERA_UNAVAILABLE,
        Reason.CAMERA_FROZEN,
    }
)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of the demo: the scene, the enrolled photo, the expected result."""

    title: str
    scene: str
    enrolled: str
    decision: str
    reason: str
    calls: int | None = None  # the expected number of API calls; None: not checked
    ttl_ms: int = TTL_MS
    service_up: bool = True


VISITS = (
    Visit("the holder walks up", "approach", "obama_podium", "match", "same_person", 1),
    Visit("another person", "one_biden_portrait", HOLDER, "no_match", "different_person", 1),
    Visit("no person", EMPTY_SCENE, HOLDER, "undecided", "no_face", 0, EMPTY_TTL_MS),
    Visit("two payers", "two_people", HOLDER, "undecided", "multiple_faces", 0, EMPTY_TTL_MS),
    Visit("no face on the photo", HOLDER_WAITS, "no_face", "undecided", "reference_unusable"),
    Visit("service stopped", HOLDER_WAITS, HOLDER, "undecided", "compare_unreachable", 0, service_up=False),
    Visit("service back", HOLDER_WAITS, HOLDER, "match", "same_person", 1),
)


@dataclass(frozen=True, slots=True)
class VisitRow:
    visit: Visit
    verdict: Acceptance
    calls: int

    @property
    def as_expected(self) -> bool:
        result = (self.verdict.decision, self.verdict.reason)
        calls_match = self.visit.calls is None or self.visit.calls == self.calls
        return result == (self.visit.decision, self.visit.reason) and calls_match

    def as_json(self) -> dict[str, Any]:
        facts = {name: getattr(self.verdict, name) for name in ("decision", "reason", "similarity")}
        counts = {"calls": self.calls, "total_ms": self.verdict.total_ms, "as_expected": self.as_expected}
        return {"scene": self.visit.title, **facts, **counts}


@dataclass(slots=True)
class DemoSystem:
    """The running parts of the demo: agent, compare service, till, simulated camera."""

    agent: AgentHandle
    service: CompareService
    till: TillClient
    scenes: SceneCamera
    broker_port: int
    fps: float
    state_directory: Path
    config_file: Path

    async def play(self, visit: Visit) -> VisitRow:
        """Show the visit's scene to the camera, send the request, return the result.

        Repeated once after an unexpected result with a reason of ``TOO_SLOW``.
        """
        row = await self._play(visit)
        is_late = row.verdict.reason in TOO_SLOW and not row.as_expected
        return await self._play(visit) if is_late else row

    async def _play(self, visit: Visit) -> VisitRow:
        if not visit.service_up:
            await self.service.stop()
        await self.show_scene(visit.scene)
        before = self.service.calls
        try:
            photo = data(f"photos/enrolled/{visit.enrolled}.jpg").read_bytes()
            verdict = await self.till.ask(photo, ttl_ms=visit.ttl_ms)
        finally:
            if not visit.service_up:
                await self.service.start()
        await self.show_scene(EMPTY_SCENE)
        return VisitRow(visit, verdict, self.service.calls - before)

    async def show_scene(self, scene: str) -> None:
        """Change the scene and wait until no frame of the previous scene can be analyzed."""
        await asyncio.to_thread(self.scenes.show, scene)
        await asyncio.sleep(2.5 / self.fps)

    def summary(self, rows: list[VisitRow]) -> dict[str, int]:
        counters = self.agent.terminal.counters
        return {
            "as_expected": sum(row.as_expected for row in rows),
            "of": len(VISITS),
            "frames_seen": counters.frames_handled,
            "frames_looked_at": counters.frames_analyzed,
            "calls_made": sum(row.calls for row in rows),
            "calls_saved": counters.frames_analyzed - sum(row.calls for row in rows),
        }


def _agent_config(base: Config, folder: Path, mqtt_port: int, compare_url: str) -> Config:
    """The demo's broker, service and files; vision, policy, verification and pages are those of ``base``."""
    key = folder / "secret-key"
    key.touch(0o600)
    key.write_bytes(EXAMPLE_SECRET)
    return Config(
        profile="demo",
        site="demo",
        terminal="terminal-1",
        inline_reference=True,
        camera=CameraConfig(kind="replay", source=EMPTY_SCENE, stall_ms=TTL_MS),  # a late frame is no fault
        compare=CompareConfig(
            url=compare_url, appid="1250000001", bucket="terminals", secret_id=EXAMPLE_ID, secret_key_file=key
        ),
        mqtt=MqttConfig(port=mqtt_port),
        storage=StorageConfig(directory=checked_directory(folder / "state")),
        trace=TraceConfig(enabled=True),  # only shipped photographs; deleted with the folder
        vision=base.vision,
        policy=base.policy,
        verification=base.verification,
        page=base.page,
        display=base.display,
    )


def to_toml(config: Config) -> str:
    """The config as TOML, so that `facepay status` and the other commands can use it."""

    def table(name: str, tree: dict[str, Any]) -> Iterator[str]:
        if name:
            yield f"\n[{name}]"
        # for these values, JSON is TOML
        yield from (
            f"{key} = {json.dumps(value)}" for key, value in tree.items() if not isinstance(value, dict)
        )
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from table(f"{name}.{key}" if name else key, value)

    return "\n".join(table("", config.model_dump(mode="json", exclude_none=True))) + "\n"


@asynccontextmanager
async def running_demo(base: Config | None = None) -> AsyncIterator[DemoSystem]:
    """Start all parts on free loopback ports; stop them in reverse order and delete all files."""
    with tempfile.TemporaryDirectory(prefix="facepay-demo-") as name:
        folder = Path(name)
        service_config = load(config_file("service.toml"), ServiceConfig).model_copy(update={"port": 0})
        service = CompareService(service_config)
        async with demo_broker(folder) as port:
            await service.start()
            try:
                config = _agent_config(base or Config(verification=SLOW_MACHINE), folder, port, service.url)
                file = folder / "agent.toml"
                write_whole(file, to_toml(config).encode())
                async with _terminal(config, service, file) as demo:
                    yield demo
            except ExceptionGroup as errors:  # a task group does not raise the error itself
                raise errors.exceptions[0] from None
            finally:
                await service.stop()


@asynccontextmanager
async def _terminal(config: Config, service: CompareService, file: Path) -> AsyncIterator[DemoSystem]:
    """The agent with a simulated camera, and a till that pins the agent's key."""
    clock, stop = BootClock(), asyncio.Event()
    scenes = SceneCamera(config.camera, clock, load_scene(EMPTY_SCENE))
    camera = NewestFrameSource(scenes, clock, stall_ms=config.camera.stall_ms)
    ready: asyncio.Queue[AgentHandle] = asyncio.Queue()
    # An agent that fails to start cancels this task and raises its error.
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve(config, stop, Overrides(camera, on_ready=ready.put_nowait)))
        running = await ready.get()
        topics = Topics(config.site, config.terminal)
        till = TillClient(config.mqtt, topics, "till-1", pinned=running.public_key)
        await till.start()
        try:
            directory, port = config.storage.directory, config.mqtt.port
            yield DemoSystem(running, service, till, scenes, port, config.camera.fps, directory, file)
        finally:
            await till.stop()
            stop.set()
            await asyncio.wait(
                [serving]
            )  # otherwise Ctrl-C would cancel it before its verification has ended
