"""The compare service against a simple dlib pipeline (HOG, 68 points, ResNet), and one worker against two.

All with one thread. The service is called over real HTTP, the dlib pipeline by function calls.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import dlib
import numpy as np

from agent.compare.face2018_client import FaceCompare2018
from agent.config import CompareConfig
from agent.config.file import load
from agent.resources import config_file, data, package_file
from agent.root.wiring import BootClock
from agent.service.compare_service import CompareService
from agent.service.recogniser import Recogniser
from agent.service.settings import EXAMPLE_SECRET, ServiceConfig
from tests.bench.cost import cpu_of
from tests.bench.report import Row, Section, percentile
from tests.bench.service import varied
from tests.bench.service_stages import stages

SHOT = data("photos/enrolled/obama_podium.jpg").read_bytes()
ENROLLED = data("photos/enrolled/obama_portrait.jpg").read_bytes()


CASES = ("both pictures new", "reference cached")
ALONE = "recognition alone, both pictures"
_CLIENTS = 4


class DlibPipeline:
    """The pipeline of most tutorials."""

    def __init__(self) -> None:
        def model(name: str) -> str:
            path = package_file("face_recognition_models", f"models/{name}")
            assert path is not None, "pip install face_recognition_models (bench extra)"
            return str(path)

        self._find = dlib.get_frontal_face_detector()
        self._points = dlib.shape_predictor(model("shape_predictor_68_face_landmarks.dat"))
        self._embed = dlib.face_recognition_model_v1(model("dlib_face_recognition_resnet_model_v1.dat"))

    def embedding(self, encoded: bytes) -> np.ndarray:
        bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        rgb = np.ascontiguousarray(bgr[:, :, ::-1])
        (face, *_) = self._find(rgb, 1)  # one upsampling, the default of tutorials
        return np.array(self._embed.compute_face_descriptor(rgb, self._points(rgb, face)))

    def compare(self, first: bytes, second: bytes) -> float:
        return float(np.linalg.norm(self.embedding(first) - self.embedding(second)))


def _settings() -> ServiceConfig:
    settings = load(config_file("service.toml"), ServiceConfig)
    account = settings.accounts[0].model_copy(update={"rate_per_s": 10_000.0, "burst": 10_000})
    return settings.model_copy(update={"port": 0, "accounts": (account,), "queue_max": 64})


def _client(url: str) -> FaceCompare2018:
    config = CompareConfig(
        url=url, appid="1250000001", bucket="terminals", secret_id="AKIDEXAMPLEEXAMPLEEXAMPLE"
    )
    return FaceCompare2018(config, EXAMPLE_SECRET, BootClock(), profile="demo")


async def _measure_service(count: int) -> dict[str, list[float]]:
    service = CompareService(_settings())
    await service.start()
    client = _client(service.url)
    await client.compare(SHOT, ENROLLED, timeout_ms=20_000)
    recogniser = Recogniser()
    recogniser.warm()
    spent_ms: dict[str, list[float]] = {name: [] for name in (*CASES, ALONE)}
    try:
        for number in range(count):
            # A new client before the burst limit of a terminal's client.
            if number % 7 == 6:
                await client.close()
                client = _client(service.url)
                await client.compare(SHOT, ENROLLED, timeout_ms=20_000)
            for name, second in zip(CASES, (varied(ENROLLED, number), ENROLLED), strict=True):
                start_s = time.perf_counter()
                await client.compare(varied(SHOT, number), second, timeout_ms=20_000)
                spent_ms[name].append((time.perf_counter() - start_s) * 1e3)
            start_s = time.perf_counter()
            recogniser.embed(SHOT)
            recogniser.embed_reference(ENROLLED)
            spent_ms[ALONE].append((time.perf_counter() - start_s) * 1e3)
    finally:
        await client.close()
        await service.stop()
    return spent_ms


async def _per_second(url: str, count: int, at_once: int) -> float:
    """API calls per second of ``at_once`` parallel clients, both pictures new."""

    async def call(lane: int) -> None:
        client = _client(url)
        for number in range(count):
            tag = lane * 10_000 + number
            await client.compare(varied(SHOT, tag), varied(ENROLLED, tag), timeout_ms=30_000)
        await client.close()

    start_s = time.perf_counter()
    await asyncio.gather(*(call(lane) for lane in range(at_once)))
    return count * at_once / (time.perf_counter() - start_s)


@dataclass(frozen=True, slots=True)
class Load:
    """API calls per second, and the CPU time that each took in the service and in its clients (ms)."""

    per_s: float
    service_ms: float
    clients_ms: float

    @property
    def busy_cores(self) -> float:
        return self.per_s * (self.service_ms + self.clients_ms) / 1e3

    def row(self, workers: str) -> Row:
        return {
            "what": f"{workers}, API calls per second",
            "p50": round(self.per_s, 1),
            "CPU of a call: service": round(self.service_ms, 1),
            "clients": round(self.clients_ms, 1),
            "busy cores": round(self.busy_cores, 2),
        }


def _loaded(url: str, pid: int, count: int) -> Load:
    before_s, clients_s = cpu_of(pid), time.process_time()
    per_s = asyncio.run(_per_second(url, count, _CLIENTS))
    calls = count * _CLIENTS
    clients_ms = 1e3 * (time.process_time() - clients_s) / calls
    return Load(per_s, 1e3 * (cpu_of(pid) - before_s) / calls, clients_ms)


def _workers(workers: int, count: int) -> Load:
    with tempfile.TemporaryDirectory() as name:
        text = config_file("service.toml").read_text()
        text = re.sub(
            r"(?m)^rate_per_s = .*$", "rate_per_s = 10000", re.sub(r"(?m)^burst = .*$", "burst = 10000", text)
        )
        path = Path(name) / "service.toml"
        path.write_text(text)
        command = [sys.executable, "-m", "agent.cli", "service", "--port", "0", "--workers", str(workers)]
        process = subprocess.Popen(
            [*command, "--config", str(path)], stderr=subprocess.PIPE, text=True, env=os.environ
        )
        assert process.stderr is not None
        try:
            url = next(line.split(" on ")[1].strip() for line in process.stderr if "ready on" in line)
            asyncio.run(_per_second(url, 2, _CLIENTS))
            return _loaded(url, process.pid, count)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def recognise(count: int) -> float:
    """Seconds for the vectors of ``count`` pairs; a separate process, which waits for a line to start."""
    recogniser = Recogniser()
    recogniser.warm()
    recogniser.embed(SHOT)  # compiles the networks for the sizes of these pictures
    recogniser.embed(ENROLLED)
    print("ready", flush=True)
    sys.stdin.readline()
    start_s = time.perf_counter()
    for _ in range(count):
        recogniser.embed(SHOT)
        recogniser.embed(ENROLLED)
    return time.perf_counter() - start_s


def _bare_speedup(count: int) -> float:
    """Recognitions per second of two processes at once, divided by those of one process."""

    def longest_s(processes: int) -> float:
        command = [sys.executable, "-m", "tests.bench.service_ratios", str(count)]
        pipes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(processes)
        ]
        for pipe in pipes:
            assert pipe.stdout is not None
            pipe.stdout.readline()
        for pipe in pipes:
            assert pipe.stdin is not None
            pipe.stdin.write("\n")
            pipe.stdin.flush()
        return max(float(pipe.communicate()[0]) for pipe in pipes)

    return 2 * longest_s(1) / longest_s(2)


def run(*, quick: bool) -> Section:
    section = Section("compare service: ratios (ms, medians)")
    count = 3 if quick else 25
    cv2.setNumThreads(1)
    dlib_pipeline = DlibPipeline()
    dlib_pipeline.compare(SHOT, ENROLLED)
    dlib_ms = []
    for _ in range(count):
        start_s = time.perf_counter()
        dlib_pipeline.compare(SHOT, ENROLLED)
        dlib_ms.append((time.perf_counter() - start_s) * 1e3)
    service_ms = asyncio.run(_measure_service(count))
    base = percentile(dlib_ms, 0.5)
    section.rows.append(
        {"what": "dlib HOG + 68 points + ResNet, both pictures", "p50": round(base, 1), "n": count}
    )
    for name, key in zip(CASES, ("both_new", "reference_cached"), strict=True):
        p50 = percentile(service_ms[name], 0.5)
        row: Row = {"what": f"compare service over HTTP, {name}", "p50": round(p50, 1), "n": count}
        section.rows.append(row | {"dlib / service": round(base / p50, 1)})
        section.measure(key, p50, base)
    alone, whole = percentile(service_ms[ALONE], 0.5), percentile(service_ms[CASES[0]], 0.5)
    section.rows.append({"what": ALONE, "p50": round(alone, 1), "n": count})
    section.rows += stages(SHOT, ENROLLED, count)
    section.measure("service_overhead", whole, alone)
    one, two = _workers(1, 2 if quick else 12), _workers(2, 2 if quick else 12)
    section.rows += [one.row("one worker"), two.row("two workers")]
    if (cores := len(os.sched_getaffinity(0))) < 2:
        section.notes.append("two workers: not judged, because this program may use one core only")
    else:
        speedup = _bare_speedup(2 if quick else 12)
        section.rows.append({"what": "two processes over one, recognition alone", "p50": round(speedup, 2)})
        # One worker uses more than one core: the event loop and the clients run beside the recognition.
        possible = min(speedup, cores / one.busy_cores)
        section.rows.append({"what": "two workers over one, possible", "p50": round(possible, 2)})
        section.measure("two_workers", round(two.per_s / one.per_s, 2), round(possible, 2))
    section.notes.append("stages of a picture: CPU time of one thread")
    section.notes.append("the clients share the machine's cores with the workers; their CPU time is counted")
    section.notes.append(
        "possible: cores of the machine over those that one worker and its clients use; at most the speedup"
        " of two processes"
    )
    return section


if __name__ == "__main__":
    print(recognise(int(sys.argv[1])))
