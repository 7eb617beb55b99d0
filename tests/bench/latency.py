"""The latency for payer and till, without the API's response time.

*overhead*: best shot chosen → API call complete at the API, plus answer → PUBACK of the result.
*cause → guidance*: capture of the newest analyzed frame → receipt of the guidance event at the till.
*person usable → result*: a usable face appears before the camera → PUBACK; the API responds after 400 ms.
Real broker, outbox (synchronous=FULL), detector, signatures, HTTP; only camera and API are simulated.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.config import (
    CameraConfig,
    CompareConfig,
    Config,
    GuardConfig,
    MqttConfig,
    StorageConfig,
    VerificationConfig,
)
from agent.core.model import Analysis, Comparison, Crop, Frame, Shot
from agent.core.ports import Compare, FaceAnalyzer, ImageSource, StoredResult, Till
from agent.kits.till.client import TillClient
from agent.messages.topics import Topics
from agent.resources import data
from agent.root.daemon import Overrides, serve
from agent.root.handle import AgentHandle
from agent.root.wiring import BootClock
from agent.service.settings import EXAMPLE_SECRET
from agent.terminal.parts import Ports
from tests.bench.frames import EMPTY_SCENE, LoopCamera, drawn
from tests.bench.report import Row, Section, percentile, spread
from tests.bench.stub_api import StubApi
from tests.brokers import Mosquitto

REPETITIONS = 3
API_S = 0.4
FPS, FAST_FPS = 10, 30
LIMIT_MS = 30_000  # beside other work, a late answer is measured, too


@dataclass
class Marks:
    """Timestamps of one verification: ``*_s`` perf_counter seconds, ``captured_ms`` on the boot clock."""

    captured_ms: int = 0
    chosen_s: float = 0.0
    answered_s: float = 0.0
    delivered_s: float = 0.0


class TimedAnalyzer:
    """Records the time of the last analysis and of the chosen shot.

    All shots are excellent, so a shot is chosen when the analysis of the next frame returns.
    """

    def __init__(self, analyzer: FaceAnalyzer, marks: Marks) -> None:
        self._analyzer, self._marks = analyzer, marks
        self._analyzed_s = 0.0
        self.begin = analyzer.begin

    def analyze(self, frame: Frame) -> Analysis:
        analysis = self._analyzer.analyze(frame)
        self._marks.captured_ms = frame.captured_ms
        self._analyzed_s = time.perf_counter()
        return analysis

    def crop(self, shot: Shot) -> Crop:
        self._marks.chosen_s = self._analyzed_s
        return self._analyzer.crop(shot)


class TimedCompare:
    def __init__(self, compare: Compare, marks: Marks) -> None:
        self._compare, self._marks = compare, marks
        self.prepare, self.close = compare.prepare, compare.close

    async def call(
        self, reference: ImageSource, crop: Crop, number: int, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        answer = await self._compare.call(reference, crop, number, timeout_ms, on_sent)
        self._marks.answered_s = time.perf_counter()
        return answer


class TimedTill:
    def __init__(self, till: Till, marks: Marks) -> None:
        self._till, self._marks = till, marks
        self.receive, self.publish = till.receive, till.publish

    async def deliver(self, stored: StoredResult, *, again: bool = False) -> None:
        await self._till.deliver(stored, again=again)
        self._marks.delivered_s = time.perf_counter()


class LatencySetup:
    """Camera, API and broker of the measurement; ``visit`` is one verification."""

    def __init__(self, folder: Path, api_s: float, fps: float) -> None:
        self.folder, self.fps = folder, fps
        self.api, self.broker = StubApi(api_s), Mosquitto(folder)
        self.empty = drawn(EMPTY_SCENE, count=4)
        self.payer = drawn("one_obama_portrait", count=8)
        self.camera = LoopCamera.of(self.empty, fps)
        self.marks = Marks()
        self.hints_ms = list[int]()
        self.enrolled = data("photos/enrolled/obama_podium.jpg").read_bytes()

    def config(self) -> Config:
        (self.folder / "secret").write_bytes(EXAMPLE_SECRET)
        return Config(
            profile="demo",
            inline_reference=True,
            camera=CameraConfig(fps=min(60.0, self.fps)),
            compare=CompareConfig(
                url=self.api.url,
                appid="1250000001",
                secret_id="AKIDEXAMPLEEXAMPLEEXAMPLE",
                secret_key_file=self.folder / "secret",
            ),
            guard=GuardConfig(calls_per_minute=0),
            mqtt=MqttConfig(port=self.broker.port, requests_per_minute=6_000),
            storage=StorageConfig(directory=self.folder / "state"),
            verification=VerificationConfig(budget_ms=LIMIT_MS, ask_timeout_ms=LIMIT_MS),
        )

    def adapt(self, ports: Ports) -> Ports:
        return replace(
            ports,
            analyzer=TimedAnalyzer(ports.analyzer, self.marks),
            compare=TimedCompare(ports.compare, self.marks),
            till=TimedTill(ports.till, self.marks),
        )

    def record_message(self, _topic: str, tree: dict[str, Any]) -> None:
        """Called for each message at the till."""
        if tree.get("event") == "guidance":
            self.hints_ms.append(BootClock().now_ms() - self.marks.captured_ms)

    async def visit(self, till: TillClient, wait_s: float) -> tuple[float, float]:
        """(overhead, usable → result) in ms; the payer appears ``wait_s`` after the request."""
        task = asyncio.create_task(till.ask(self.enrolled, ttl_ms=LIMIT_MS))
        await asyncio.sleep(wait_s)
        self.camera.show(self.payer)
        usable_s = time.perf_counter()
        verdict = await task
        assert verdict.decision == "match", verdict
        self.camera.show(self.empty)
        while self.marks.delivered_s < self.marks.answered_s:  # noqa: ASYNC110 - PUBACK comes within a millisecond
            await asyncio.sleep(0.001)
        marks = self.marks
        overhead_s = (self.api.calls[-1][0] - marks.chosen_s) + (marks.delivered_s - marks.answered_s)
        await asyncio.sleep(2.5 / self.fps + 0.05)  # the scene is empty again; below the API's rate limit
        return overhead_s * 1e3, (marks.delivered_s - usable_s) * 1e3


async def _measure(count: int, api_s: float, fps: float) -> tuple[list[tuple[float, float]], list[int]]:
    """(overhead, usable → result) of each visit, and cause → guidance of all visits, in ms."""
    with tempfile.TemporaryDirectory() as name:
        setup = LatencySetup(Path(name), api_s, fps)
        await setup.api.start()
        setup.broker.start()
        ready: asyncio.Queue[AgentHandle] = asyncio.Queue()
        stop = asyncio.Event()
        agent = asyncio.create_task(
            serve(setup.config(), stop, Overrides(setup.camera, setup.adapt, ready.put_nowait))
        )
        running = await ready.get()
        till = TillClient(
            setup.config().mqtt,
            Topics("site", "terminal"),
            "till-1",
            pinned=running.public_key,
            on_message=setup.record_message,
        )
        await till.start()
        try:
            await setup.visit(till, 0.05)  # not measured: warm-up
            setup.hints_ms.clear()
            times = [await setup.visit(till, 0.05 + 0.013 * (number % 7)) for number in range(count)]
            return times, setup.hints_ms
        finally:
            await till.stop()
            stop.set()
            await agent
            await setup.api.stop()
            setup.broker.stop()


def run(*, quick: bool) -> Section:
    section = Section("latency without the API's response time (ms)")
    repetitions = 1 if quick else REPETITIONS
    overhead, usable, hints = list[float](), list[float](), list[float]()
    for repetition in range(repetitions):
        pairs, _ = asyncio.run(_measure(3 if quick else 70, api_s=0.0, fps=FAST_FPS))
        section.rows.append(_row(f"overhead, run {repetition + 1}", [pair[0] for pair in pairs]))
        overhead += [pair[0] for pair in pairs]
    for repetition in range(repetitions):
        pairs, hint_times_ms = asyncio.run(_measure(3 if quick else 20, api_s=API_S, fps=FPS))
        section.rows.append(
            _row(f"person usable -> result, run {repetition + 1}", [pair[1] for pair in pairs])
        )
        usable += [pair[1] for pair in pairs]
        hints += hint_times_ms
    section.rows += [_row("overhead, all", overhead), _row("person usable -> result, all", usable)]
    section.rows.append(_row("cause -> guidance received by the till", hints))
    section.measure("overhead", round(percentile(overhead, 0.99), 1), 1e3 / FAST_FPS)
    section.measure("guidance", round(percentile(hints, 0.99)), 1e3 / FPS)
    section.measure("usable_p50", round(percentile(usable, 0.5)), 1e3 * API_S + 1e3 / FPS)
    section.measure("usable_p95", round(percentile(usable, 0.95)), 1e3 * API_S + 1e3 / FPS)
    section.notes += [
        "overhead: shot chosen -> API call at the API, plus answer -> PUBACK; 30 fps, API takes 0 ms",
        f"usable -> result: camera at 10 fps, API responds after {API_S * 1e3:g} ms (included)",
        "the payer stands still and well lit: an excellent shot ends the hold early",
        "till, API and agent share one process and event loop, so the latency includes their work",
    ]
    return section


def _row(what: str, values: list[float]) -> Row:
    return {"what": what, **spread(values)}
