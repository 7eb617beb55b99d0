"""One fixed 90 s scene at 10 fps: us and a naive peer, each in a process of its own, one after the other.

Four people pay, two pass by and never look; a till asks when somebody comes. The pictures are drawn by yet
another process; broker, till and API stand in this one. So a side's CPU (getrusage of its whole process while
the scene plays) is its own, apart from taking the pictures: that is measured alone and taken off.
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

THINK_S = 0.4  # the API, for us; for the peer none, it would only wait longer


@dataclass
class Side:
    """What one side did. ``told`` is what it says of itself, the rest was seen from outside."""

    name: str
    told: dict[str, Any]
    api: StubApi
    calls_at_s: Sequence[float] = ()
    verdicts: list[Acceptance] = field(default_factory=list)

    @property
    def own_cpu_s(self) -> float:
        return max(1e-3, float(self.told["cpu_s"]) - float(self.told["replay_s"]))

    def row(self, visits: Sequence[Visit]) -> Row:
        useless, missed = judge_calls(self.calls_at_s, visits)
        return {
            "side": self.name,
            "cpu (s)": round(self.own_cpu_s, 2),
            "replay taken off (s)": round(self.told["replay_s"], 2),
            "api calls": len(self.calls_at_s),
            "per visit": round(len(self.calls_at_s) / len(visits), 2),
            "useless": useless,
            "missed visits": missed,
            "bytes to api": self.api.bytes_in,
            "connections": self.api.connections,
            "frames": self.told["frames"],
        }


async def _process(
    module: str, *arguments: object
) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *map(str, arguments), stdout=asyncio.subprocess.PIPE, limit=2**20
    )
    assert process.stdout is not None
    return process, process.stdout


async def _told(process: asyncio.subprocess.Process, said: asyncio.StreamReader) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(await said.readline())
    await process.wait()
    return told


async def _ours(folder: Path, port: int, start_s: float, seconds: float) -> Side:
    api = await StubApi(THINK_S).start()
    process, said = await _process("tests.bench.visiting_agent", folder, port, api.url, start_s, seconds)
    assert (await said.readline()).strip() == b"READY"
    began_s = time.perf_counter() - start_s
    till = TillClient(MqttConfig(port=port), Topics("site", "terminal"), "till-1")
    await till.start()
    enrolled = data("photos/enrolled/obama_portrait.jpg").read_bytes()
    verdicts = list[Acceptance]()
    for visit in visits_within(start_s, seconds):
        await asyncio.sleep(began_s + visit.asked_s - time.perf_counter())
        verdicts.append(await till.ask(enrolled, ttl_ms=8_000))
    side = Side("facepay-agent", await _told(process, said), api, verdicts=verdicts)
    side.calls_at_s = [at_s - began_s for at_s, _ in api.calls]
    await till.stop()
    await api.stop()
    return side


async def _naive(port: int, start_s: float, seconds: float) -> Side:
    api = await StubApi().start()
    told = await _told(*await _process("tests.bench.naive", port, api.url, start_s, seconds))
    await api.stop()
    return Side("naive peer", told, api, told["calls_at_s"])


async def _both(start_s: float, seconds: float) -> tuple[Side, Side]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "secret").write_bytes(EXAMPLE_SECRET)
        broker = Mosquitto(Path(name)).start()
        try:
            return (
                await _ours(Path(name), broker.port, start_s, seconds),
                await _naive(broker.port, start_s, seconds),
            )
        finally:
            broker.stop()


def run(*, quick: bool) -> Section:
    section = Section("a 90 s scene: four who pay, two who pass by; us and a naive peer")
    start_s, seconds = (EMPTY_S, 11.0) if quick else (0.0, LENGTH_S)
    visits = visits_within(start_s, seconds)
    us, naive = asyncio.run(_both(start_s, seconds))
    section.rows += [us.row(visits), naive.row(visits)]
    less_cpu = round(naive.own_cpu_s / us.own_cpu_s, 1)
    fewer_bytes = round(naive.api.bytes_in / max(1, us.api.bytes_in), 1)
    section.rows.append({"side": "naive / ours", "cpu (s)": less_cpu, "bytes to api": fewer_bytes})
    _judge(section, us, visits)
    section.goal("naive peer's CPU over ours", less_cpu, at_least=15)
    section.goal("naive peer's bytes over ours", fewer_bytes, at_least=50)
    section.notes += _notes(us, naive, start_s)
    return section


def _judge(section: Section, us: Side, visits: Sequence[Visit]) -> None:
    useless, missed = judge_calls(us.calls_at_s, visits)
    matched = sum(verdict.decision == "match" for verdict in us.verdicts)
    section.goal("API calls per visit", round(len(us.calls_at_s) / len(visits), 2), at_most=1)
    section.goal("useless API calls", useless, at_most=0)
    section.goal("missed visits", max(missed, len(visits) - matched), at_most=0)


def _notes(us: Side, naive: Side, start_s: float) -> list[str]:
    empty_s = EMPTY_S - start_s
    waits = [verdict.result["timings_ms"] for verdict in us.verdicts]
    usable = ", ".join(f"{wait['total'] - wait['wait_face']}" for wait in waits)
    notes = [
        f"our till's verdicts: {', '.join(f'{v.decision}/{v.reason}' for v in us.verdicts)}",
        f"first usable frame -> result, API {THINK_S * 1e3:g} ms, people who walk up: {usable} ms",
        "useless: a call after the first one of a visit, or without a payer",
    ]
    if empty_s > 0:
        ours, theirs = (100 * side.told["empty_cpu_s"] / empty_s for side in (us, naive))
        notes.append(
            f"the empty {empty_s:g} s, replay included: {ours:.2f} % of a core for us, {theirs:.0f} % for the"
            " peer (beyond 100 % it falls behind the camera)"
        )
    return notes
