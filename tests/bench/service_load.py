"""API calls per second of one worker, of two workers, and of two services of one worker each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.compare.face2018_client import FaceCompare2018
from agent.config import CompareConfig
from agent.resources import config_file, data
from agent.root.wiring import BootClock
from agent.service.settings import EXAMPLE_SECRET
from tests.bench.cost import cpu_of
from tests.bench.report import Row, Section
from tests.bench.service import varied

SHOT = data("photos/enrolled/obama_podium.jpg").read_bytes()
ENROLLED = data("photos/enrolled/obama_portrait.jpg").read_bytes()

_CLIENTS = 4
_Running = tuple[subprocess.Popen[str], str]  # with its URL


def client_of(url: str) -> FaceCompare2018:
    config = CompareConfig(
        url=url, appid="1250000001", bucket="terminals", secret_id="AKIDEXAMPLEEXAMPLEEXAMPLE"
    )
    return FaceCompare2018(config, EXAMPLE_SECRET, BootClock(), profile="demo")


@dataclass(frozen=True, slots=True)
class Load:
    """API calls per second, and the CPU time that each took in the services and in the clients (ms)."""

    per_s: float
    service_ms: float
    clients_ms: float

    def row(self, what: str) -> Row:
        return {
            "what": f"{what}, API calls per second",
            "p50": round(self.per_s, 1),
            "CPU of a call: service": round(self.service_ms, 1),
            "clients": round(self.clients_ms, 1),
            "busy cores": round(self.per_s * (self.service_ms + self.clients_ms) / 1e3, 2),
        }


def add_two_workers(section: Section, count: int) -> None:
    """Measure the goal ``two_workers``; not on one core. ``count``: calls of each of the four clients.

    The calibration has the same networks, clients and cores, but shares no process between the workers: a
    slower service changes both figures, and a lock between the workers of one process only the first one.
    """
    one, two = load_of(1, 1, count), load_of(1, 2, count)
    section.rows += [one.row("one worker"), two.row("two workers")]
    section.notes.append("the clients share the machine's cores with the workers; their CPU time is counted")
    if len(os.sched_getaffinity(0)) < 2:
        section.notes.append("two workers: not judged, because this program may use one core only")
        return
    separate = load_of(2, 1, count)
    section.rows.append(separate.row("two services of one worker"))
    section.notes.append("two services: two processes, each with its own port and half of the clients")
    section.measure("two_workers", round(two.per_s / one.per_s, 2), round(separate.per_s / one.per_s, 2))


def load_of(services: int, workers: int, count: int) -> Load:
    """Four clients, divided over some services with some workers each."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = _write_config(folder)
        started = [stack.enter_context(_service(config, workers)) for _ in range(services)]
        urls = [url for _, url in started]
        asyncio.run(_per_second(urls, 2))
        return _loaded(urls, [process.pid for process, _ in started], count)


def _write_config(folder: Path) -> Path:
    """The shipped config, with limits that refuse no call of this load."""
    text = config_file("service.toml").read_text()
    for name, value in {"rate_per_s": 10_000, "burst": 10_000, "answer_within_ms": 30_000}.items():
        text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        assert count == 1, name
    path = folder / "service.toml"
    path.write_text(text)
    return path


@contextlib.contextmanager
def _service(config: Path, workers: int) -> Iterator[_Running]:
    command = [sys.executable, "-m", "agent.cli", "service", "--port", "0", "--workers", str(workers)]
    process = subprocess.Popen([*command, "--config", str(config)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield process, next(line.split(" on ")[1].strip() for line in process.stderr if "ready on" in line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stderr.close()


def _loaded(urls: Sequence[str], pids: Sequence[int], count: int) -> Load:
    before_s, clients_s = sum(map(cpu_of, pids)), time.process_time()
    per_s = asyncio.run(_per_second(urls, count))
    calls = count * _CLIENTS
    clients_ms = 1e3 * (time.process_time() - clients_s) / calls
    return Load(per_s, 1e3 * (sum(map(cpu_of, pids)) - before_s) / calls, clients_ms)


async def _per_second(urls: Sequence[str], count: int) -> float:
    """API calls per second of all clients together, both pictures new."""

    async def call(lane: int) -> None:
        client = client_of(urls[lane % len(urls)])
        for number in range(count):
            tag = lane * 10_000 + number
            await client.compare(varied(SHOT, tag), varied(ENROLLED, tag), timeout_ms=30_000)
        await client.close()

    start_s = time.perf_counter()
    await asyncio.gather(*(call(lane) for lane in range(_CLIENTS)))
    return count * _CLIENTS / (time.perf_counter() - start_s)
