"""The compare service against a simple dlib pipeline (HOG, 68 points, ResNet), and one worker against two.

All with one thread. The service is called over real HTTP, the dlib pipeline by function calls.
"""

from __future__ import annotations

import asyncio
import time

import cv2
import dlib
import numpy as np

from agent.config.file import load
from agent.resources import config_file, package_file
from agent.service.compare_service import CompareService
from agent.service.recogniser import Recogniser
from agent.service.settings import ServiceConfig
from tests.bench.report import Row, Section, percentile
from tests.bench.service import varied
from tests.bench.service_load import ENROLLED, SHOT, add_two_workers, client_of
from tests.bench.service_stages import stages

CASES = ("both pictures new", "reference cached")
ALONE = "recognition alone, both pictures"


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


async def _measure_service(count: int) -> dict[str, list[float]]:
    service = CompareService(_settings())
    await service.start()
    client = client_of(service.url)
    await client.compare(SHOT, ENROLLED, timeout_ms=20_000)
    recogniser = Recogniser()
    recogniser.warm()
    spent_ms: dict[str, list[float]] = {name: [] for name in (*CASES, ALONE)}
    try:
        for number in range(count):
            # A new client before the burst limit of a terminal's client.
            if number % 7 == 6:
                await client.close()
                client = client_of(service.url)
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
    add_two_workers(section, 2 if quick else 12)  # measures "two_workers"
    section.notes.append("stages of a picture: CPU time of one thread")
    return section
