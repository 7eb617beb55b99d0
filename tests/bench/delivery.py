"""The time from a decision to the PUBACK of its result: signed, stored with synchronous=FULL, published.

Bytes are the kernel's count for this process (/proc/self/io). Therefore the state directory must be on a
disk: the disk of the working directory.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from pathlib import Path

from agent.config import MqttConfig, StorageConfig
from agent.core.model import Assurance, Comparison, Reference, Request, Result, Timings
from agent.core.reasons import Decision, Reason
from agent.messages.decode import DecodeRules
from agent.messages.encode import TerminalIdentity, result
from agent.messages.signing import Signer
from agent.outbox.outbox import Outbox
from agent.root.wiring import BootClock
from agent.till.adapter import MqttTill
from agent.till.state_publisher import StateFacts
from tests.bench.report import Row, Section, percentile, spread
from tests.brokers import Mosquitto

REPETITIONS = 3
_PAGE_BYTES = 4_096


async def _measure(folder: Path, port: int, count: int) -> tuple[list[float], float]:
    """(ms from decision to PUBACK, KiB written per request with its claim and its result)."""
    clock, signer = BootClock(), Signer.load_or_create(folder)
    identity = TerminalIdentity("bench", "terminal-1", "boot", "epoch")
    outbox = Outbox(
        StorageConfig(directory=folder), clock, "boot", lambda v, i: result(v, identity, i, signer)
    )
    facts = StateFacts(lambda: "online", dict, signer)
    config = MqttConfig(port=port)
    till = MqttTill(
        config, identity, DecodeRules(98_304, 10_000), outbox, clock, margin_ms=250, state_facts=facts
    )
    await till.start()
    try:
        async with asyncio.timeout(20):
            while not till.connection.is_connected:  # noqa: ASYNC110 - only at the start
                await asyncio.sleep(0.05)
        latencies_ms = list[float]()
        before = _written_bytes()
        for number in range(count):
            request = _request(str(uuid.UUID(int=number)), clock.now_ms())
            await outbox.claim(request)
            start_s = time.perf_counter()
            stored = await outbox.settle(_match(request))
            await till.deliver(stored)  # until the PUBACK
            latencies_ms.append((time.perf_counter() - start_s) * 1e3)
            await till.result_sender.record_ack(
                stored.till, stored.result_id
            )  # closes the row: a second fsync
        return latencies_ms, (_written_bytes() - before) / 1_024 / count
    finally:
        await till.stop()
        await outbox.close()


def fsync_times_ms(folder: Path, count: int) -> list[float]:
    """The disk alone: one page appended and synchronised, as the write-ahead log does for each commit."""
    times_ms = []
    with (folder / "fsync").open("ab", buffering=0) as file:
        for _ in range(count):
            start_s = time.perf_counter()
            file.write(bytes(_PAGE_BYTES))
            os.fsync(file.fileno())
            times_ms.append((time.perf_counter() - start_s) * 1e3)
    return times_ms


def _written_bytes() -> int:
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


def _request(request_id: str, now_ms: int) -> Request:
    reference = Reference(url="https://photos.example/1.jpg", sha256="00" * 32)
    return Request(
        request_id, "till-1", "sale", "ab" * 16, "epoch", 8_000, reference, "cd" * 32, now_ms, 8_000
    )


def _match(request: Request) -> Result:
    comparison = Comparison(93.0, 80.0, "face_compare_2018", "session", 0)
    return Result(request, Decision.MATCH, Reason.SAME_PERSON, 1, comparison, Timings(), Assurance())


def run(*, quick: bool) -> Section:
    section = Section("decision -> PUBACK, outbox on disk (ms)")
    all_ms, kib, disk_ms = list[float](), list[float](), list[float]()
    for repetition in range(1 if quick else REPETITIONS):
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
            broker = Mosquitto(Path(name)).start()
            try:
                count = 20 if quick else 300
                disk_ms += fsync_times_ms(Path(name), count)
                latencies_ms, per_result = asyncio.run(_measure(Path(name), broker.port, count))
            finally:
                broker.stop()
        section.rows.append(_row(f"run {repetition + 1}", latencies_ms, per_result))
        all_ms += latencies_ms
        kib.append(per_result)
    section.rows.append(_row("all", all_ms, sum(kib) / len(kib)))
    section.rows.append({"what": "the disk's fsync alone, one page", **spread(disk_ms, 2)})
    section.measure("delivery", round(percentile(all_ms, 0.99), 2), round(percentile(disk_ms, 0.99), 2))
    section.measure("written", round(max(kib), 1))
    section.notes += [
        "result signed and stored (WAL, synchronous=FULL), published with QoS 1, answered by mosquitto;"
        " closing the row after the till's acknowledgement is not included",
        "KiB: write_bytes of the process per request, so claim, result and closing the row together",
    ]
    return section


def _row(what: str, latencies_ms: list[float], kib: float) -> Row:
    return {"what": what, **spread(latencies_ms, 2), "KiB written per request": round(kib, 1)}
