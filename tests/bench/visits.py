"""One fixed 90 s scene at 10 fps: facepay-agent and a naive implementation, one after the other.

Four people pay, two pass by and never look at the camera; a till sends a request for each payer. Each side
runs in a separate process, the images are drawn in another process, and broker, till and API run in this
process. So the CPU of a side (getrusage of its process during the scene) contains only its own work and the
taking of images, which is measured alone and subtracted.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config import MqttConfig
from agent.kits.till.acceptance import Acceptance
from agent.kits.till.client import TillClient
from agent.messages.topics import Topics
from agent.resources import data
from agent.service.settings import EXAMPLE_SECRET
from tests.bench.report import Row, Section
from tests.bench.scene import EMPTY_S, LENGTH_S, Visit, judge_calls, visits_within
from tests.bench.stub_api import StubApi
from tests.brokers import Mosquitto

API_S = 0.4  # the API's response time for the agent; 0 for the naive implementation, which would only wait


@dataclass
class Side:
    """The figures of one side. ``report``: its own figures; the other fields are measured from outside."""

    name: str
    report: dict[str, Any]
    api: StubApi
    calls_at_s: Sequence[float] = ()
    verdicts: list[Acceptance] = field(default_factory=list)

    @property
    def own_cpu_s(self) -> float:
        return max(1e-3, float(self.report["cpu_s"]) - float(self.report["replay_s"]))

    def row(self, visits: Sequence[Visit]) -> Row:
        useless, missed = judge_calls(self.calls_at_s, visits)
        return {
            "side": self.name,
            "cpu (s)": round(self.own_cpu_s, 2),
            "replay subtracted (s)": round(self.report["replay_s"], 2),
            "api calls": len(self.calls_at_s),
            "per visit": round(len(self.calls_at_s) / len(visits), 2),
            "useless": useless,
            "missed visits": missed,
            "bytes to api": self.api.bytes_in,
            "connections": self.api.connections,
            "frames": self.report["frames"],
        }


async def _process(
    module: str, *arguments: object
) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *map(str, arguments), stdout=asyncio.subprocess.PIPE, limit=2**20
    )
    assert process.stdout is not None
    return process, process.stdout


async def _read_report(process: asyncio.subprocess.Process, output: asyncio.StreamReader) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(await output.readline())
    await process.wait()
    return report


async def _run_agent(folder: Path, port: int, start_s: float, seconds: float) -> Side:
    api = await StubApi(API_S).start()
    process, output = await _process("tests.bench.visiting_agent", folder, port, api.url, start_s, seconds)
    assert (await output.readline()).strip() == b"READY"
    start_of_scene_s = time.perf_counter() - start_s
    till = TillClient(MqttConfig(port=port), Topics("site", "terminal"), "till-1")
    await till.start()
    enrolled = data("photos/enrolled/obama_portrait.jpg").read_bytes()
    verdicts = list[Acceptance]()
    for visit in visits_within(start_s, seconds):
        await asyncio.sleep(start_of_scene_s + visit.request_s - time.perf_counter())
        verdicts.append(await till.ask(enrolled, ttl_ms=8_000))
    side = Side("facepay-agent", await _read_report(process, output), api, verdicts=verdicts)
    side.calls_at_s = [at_s - start_of_scene_s for at_s, _ in api.calls]
    await till.stop()
    await api.stop()
    return side


async def _run_naive(port: int, start_s: float, seconds: float) -> Side:
    api = await StubApi().start()
    report = await _read_report(*await _process("tests.bench.naive", port, api.url, start_s, seconds))
    await api.stop()
    return Side("naive implementation", report, api, report["calls_at_s"])


async def _run_both(start_s: float, seconds: float) -> tuple[Side, Side]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "secret").write_bytes(EXAMPLE_SECRET)
        broker = Mosquitto(Path(name)).start()
        try:
            return (
                await _run_agent(Path(name), broker.port, start_s, seconds),
                await _run_naive(broker.port, start_s, seconds),
            )
        finally:
            broker.stop()


def run(*, quick: bool) -> Section:
    section = Section(
        "a 90 s scene, four payers and two passers-by: facepay-agent and a naive implementation"
    )
    start_s, seconds = (EMPTY_S, 11.0) if quick else (0.0, LENGTH_S)
    visits = visits_within(start_s, seconds)
    agent, naive = asyncio.run(_run_both(start_s, seconds))
    section.rows += [agent.row(visits), naive.row(visits)]
    less_cpu = round(naive.own_cpu_s / agent.own_cpu_s, 1)
    fewer_bytes = round(naive.api.bytes_in / max(1, agent.api.bytes_in), 1)
    section.rows.append({"side": "naive / facepay-agent", "cpu (s)": less_cpu, "bytes to api": fewer_bytes})
    _judge(section, agent, visits)
    section.measure("cpu_of_naive", agent.own_cpu_s, naive.own_cpu_s)
    section.measure("bytes_of_naive", agent.api.bytes_in, naive.api.bytes_in)
    section.notes += _notes(agent, naive, start_s)
    return section


def _judge(section: Section, agent: Side, visits: Sequence[Visit]) -> None:
    useless, missed = judge_calls(agent.calls_at_s, visits)
    matched = sum(verdict.decision == "match" for verdict in agent.verdicts)
    section.measure("calls_per_visit", round(len(agent.calls_at_s) / len(visits), 2))
    section.measure("useless_calls", useless)
    section.measure("missed_visits", max(missed, len(visits) - matched))


def _notes(agent: Side, naive: Side, start_s: float) -> list[str]:
    empty_s = EMPTY_S - start_s
    timings = [verdict.result["timings_ms"] for verdict in agent.verdicts]
    usable = ", ".join(f"{wait['total'] - wait['wait_face']}" for wait in timings)
    notes = [
        f"results at the till: {', '.join(f'{v.decision}/{v.reason}' for v in agent.verdicts)}",
        f"first usable frame -> result, API {API_S * 1e3:g} ms, approaching payers: {usable} ms",
        "useless: a call after the first one of a visit, or without a payer",
    ]
    if empty_s > 0:
        agent_percent, naive_percent = (100 * side.report["empty_cpu_s"] / empty_s for side in (agent, naive))
        notes.append(
            f"the empty {empty_s:g} s, replay included: {agent_percent:.2f} % of a core for facepay-agent,"
            f" {naive_percent:.0f} % for the naive implementation (above 100 %: slower than the camera)"
        )
    return notes
