"""The embedded compare service: API calls per second over real HTTP, with and without a cached reference."""

from __future__ import annotations

import asyncio
import time

from agent.compare.face2018_client import FaceCompare2018
from agent.config import CompareConfig
from agent.config.file import load
from agent.resources import config_file, data
from agent.root.wiring import BootClock
from agent.service.compare_service import CompareService
from agent.service.settings import EXAMPLE_SECRET, ServiceConfig
from tests.bench.cost import pss_mib
from tests.bench.report import Row, Section, spread

REPETITIONS = 3


WARM_PAIR = (
    data("photos/enrolled/biden_portrait.jpg").read_bytes(),
    data("photos/enrolled/collins_portrait.jpg").read_bytes(),
)
PER_CLIENT = 15  # below the burst limit of a terminal's client


async def _measure_calls(config: CompareConfig, pairs: list[tuple[bytes, bytes]]) -> list[float]:
    """The duration of each call in ms, without creating the client and opening its connection."""
    spent_ms: list[float] = []
    for start in range(0, len(pairs), PER_CLIENT):
        client = FaceCompare2018(config, EXAMPLE_SECRET, BootClock(), profile="demo")
        await client.compare(*WARM_PAIR, timeout_ms=20_000)
        spent_ms += await _time_calls(client, pairs[start : start + PER_CLIENT])
        await client.close()
    return spent_ms


async def _time_calls(client: FaceCompare2018, pairs: list[tuple[bytes, bytes]]) -> list[float]:
    spent_ms = []
    for first, second in pairs:
        start_s = time.perf_counter()
        await client.compare(first, second, timeout_ms=20_000)
        spent_ms.append((time.perf_counter() - start_s) * 1e3)
    return spent_ms


def varied(photo: bytes, number: int) -> bytes:
    """The same image with a new comment segment after the start marker, so that no cache entry matches."""
    note = f"{number}".encode()
    return photo[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + photo[2:]


async def _measure(count: int, repetitions: int) -> list[Row]:
    settings = load(config_file("service.toml"), ServiceConfig)
    account = settings.accounts[0].model_copy(update={"rate_per_s": 10_000.0, "burst": 10_000})
    service = CompareService(settings.model_copy(update={"port": 0, "accounts": (account,)}))
    await service.start()
    config = CompareConfig(
        url=service.url, appid=account.appid, bucket="terminals", secret_id=account.secret_id
    )
    shot = data("photos/enrolled/obama_podium.jpg").read_bytes()
    enrolled = data("photos/enrolled/obama_portrait.jpg").read_bytes()
    rows: list[Row] = []
    try:
        await _measure_calls(config, [(shot, enrolled)] * 3)
        for repetition in range(repetitions):
            kinds = {
                "both pictures new": [
                    (varied(shot, n), varied(enrolled, n + 1_000 * repetition)) for n in range(count)
                ],
                "reference cached": [(varied(shot, n), enrolled) for n in range(count)],
            }
            for title, pairs in kinds.items():
                spent_ms = await _measure_calls(config, pairs)
                per_s = 1e3 * len(spent_ms) / sum(spent_ms)
                rows.append(
                    {
                        "what": f"{title}, run {repetition + 1}",
                        "per second": round(per_s, 1),
                        **spread(spent_ms),
                    }
                )
    finally:
        await service.stop()
    return rows


def run(*, quick: bool) -> Section:
    section = Section("embedded compare service, one client, one thread of recognition (ms)")
    section.rows = asyncio.run(_measure(3 if quick else 30, 1 if quick else REPETITIONS))
    section.rows.append({"what": "PSS of bench process with service (MiB)", "p50": round(pss_mib(), 1)})
    return section
