"""What the compare client costs beyond the network, and what warming its connection saves. TLS throughout.

The server is a process of its own and answers at once. The 30 ms round trip is a proxy that holds every byte
15 ms each way, and the first byte of a connection one round trip more: the TCP handshake's cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from agent.compare.face2018_client import FaceCompare2018
from agent.config import CompareConfig
from agent.resources import data
from tests.bench.report import Row, Section, spread
from tests.compare.servers import SUCCESS, ReceivedRequest, endpoint, http
from tests.compare.test_client import request
from tests.compare.vectors import ACCOUNT, SECRET
from tests.fakes import RealClock
from tests.service.certificates import self_signed

ROUND_TRIP_S = 0.030
ASKS, BURST, VISITS, REPETITIONS = 190, 19, 25, 3
SHOT = (data("photos/enrolled") / "obama_podium.jpg").read_bytes()
PHOTO = (data("photos/enrolled") / "obama_portrait.jpg").read_bytes()


async def serve(folder: Path) -> None:
    """The server process: answers at once, prints its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def answer(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(http(SUCCESS))

    async with endpoint(answer, tls=context) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)  # until the parent goes


@contextlib.asynccontextmanager
async def delayed(port: int) -> AsyncIterator[int]:
    """A proxy to ``port`` that is half a round trip away."""

    tasks = set[asyncio.Task[None] | None]()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, extra_s: float) -> None:
        loop, due = asyncio.get_running_loop(), 0.0
        while chunk := await reader.read(65_536):
            due = max(due, loop.time() + ROUND_TRIP_S / 2 + extra_s)
            extra_s = 0.0
            loop.call_at(due, writer.write, chunk)
        loop.call_at(max(due, loop.time()), writer.close)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        there, back = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(pump(reader, back, ROUND_TRIP_S), pump(there, writer, 0.0))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    found = [task for task in tasks if task is not None]
    for task in found:
        task.cancel()
    await asyncio.gather(*found)


def made(port: int, ca_file: Path) -> FaceCompare2018:
    config = CompareConfig(
        url=f"https://localhost:{port}/face/compare",
        ca_file=ca_file,
        appid=ACCOUNT["appid"],
        secret_id=ACCOUNT["secret_id"],
        bucket=ACCOUNT["bucket"],
    )
    return FaceCompare2018(config, SECRET, RealClock())


async def ask(api: FaceCompare2018) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    await api.compare(SHOT, PHOTO, timeout_ms=5_000)
    return (time.perf_counter() - began) * 1e3


async def warm_asks(port: int, ca_file: Path) -> tuple[list[float], list[float]]:
    """By turns: the network (the same bytes over an open connection, nothing built), and a question."""
    context = ssl.create_default_context(cafile=ca_file)
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    body = SHOT + PHOTO
    question = f"POST / HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    network, asks = list[float](), list[float]()
    for _ in range(ASKS // BURST):
        api = made(port, ca_file)  # a new one each time: the local rate limit is part of the product
        await ask(api)
        for _ in range(BURST):
            began = time.perf_counter()
            writer.write(question)
            await reader.readexactly(len(http(SUCCESS)))
            network.append((time.perf_counter() - began) * 1e3)
            asks.append(await ask(api))
        await api.close()
    writer.close()
    await writer.wait_closed()
    return network, asks


async def first_asks(port: int, ca_file: Path, *, warmed: bool) -> list[float]:
    times = list[float]()
    for number in range(VISITS):
        api = made(port, ca_file)
        if warmed:
            await api.prepare(request(number=number))
            await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "compare-warm"))
        times.append(await ask(api))
        await api.close()
    return times


async def repetition(port: int, ca_file: Path, number: int) -> tuple[list[Row], float, float]:
    """(rows, warm overhead in ms, cold over warmed)."""
    network, asks = await warm_asks(port, ca_file)
    async with delayed(port) as far:
        cold = await first_asks(far, ca_file, warmed=False)
        warmed = await first_asks(far, ca_file, warmed=True)
    overhead = statistics.median(asks) - statistics.median(network)
    ratio = statistics.median(cold) / statistics.median(warmed)
    measured = {
        "the network alone": network,
        "a warm API call": asks,
        "first API call at 30 ms, cold": cold,
        "first API call at 30 ms, warmed": warmed,
    }
    rows = [{"what": what, "run": number, **spread(times, 2)} for what, times in measured.items()]
    rows.append({"what": "warm overhead (difference of p50)", "run": number, "p50": round(overhead, 2)})
    rows.append({"what": "cold over warmed (ratio of p50)", "run": number, "p50": round(ratio, 2)})
    return rows, overhead, ratio


def run(*, quick: bool) -> Section:
    section = Section(f"compare client over TLS, {len(SHOT) + len(PHOTO)} bytes per API call (ms)")
    with tempfile.TemporaryDirectory() as name:
        cert_file, _ = self_signed(Path(name))
        command = [sys.executable, "-m", "tests.bench.compare_client", name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            try:
                overheads, ratios = list[float](), list[float]()
                for number in range(1, 2 if quick else 1 + REPETITIONS):
                    rows, overhead, ratio = asyncio.run(repetition(port, cert_file, number))
                    section.rows += rows
                    overheads.append(overhead)
                    ratios.append(ratio)
            finally:
                server.terminate()
    section.goal(
        "client overhead of a warm API call, p50 (ms)", round(statistics.median(overheads), 2), at_most=2
    )
    section.goal(
        "first API call at 30 ms, cold over warmed", round(statistics.median(ratios), 2), at_least=2.5
    )
    return section


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
