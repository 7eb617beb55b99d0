"""The compare client's overhead beyond the network, and the time saved by a warm connection. Always TLS.

The server is a separate process and answers at once. A proxy simulates a round trip of 30 ms: it delays every
byte by 15 ms in each direction, and the first byte of a connection by one more round trip (TCP handshake).
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
WHAT = (
    "the network alone",
    "a warm API call",
    "first API call at 30 ms, cold",
    "first API call at 30 ms, warmed",
)
CALLS, BURST, VISITS, REPETITIONS = 190, 19, 25, 3
SHOT = (data("photos/enrolled") / "obama_podium.jpg").read_bytes()
PHOTO = (data("photos/enrolled") / "obama_portrait.jpg").read_bytes()


async def serve(folder: Path) -> None:
    """The server process: prints its port, answers at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def respond(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(http(SUCCESS))

    async with endpoint(respond, tls=context) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)  # until the parent process ends


@contextlib.asynccontextmanager
async def delayed(port: int) -> AsyncIterator[int]:
    """A proxy to ``port`` with a round trip of ``ROUND_TRIP_S``; yields the proxy's port."""
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
        api_reader, api_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(pump(reader, api_writer, ROUND_TRIP_S), pump(api_reader, writer, 0.0))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    pending = [task for task in tasks if task is not None]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending)


def new_client(port: int, ca_file: Path) -> FaceCompare2018:
    config = CompareConfig(
        url=f"https://localhost:{port}/face/compare",
        ca_file=ca_file,
        appid=ACCOUNT["appid"],
        secret_id=ACCOUNT["secret_id"],
        bucket=ACCOUNT["bucket"],
    )
    return FaceCompare2018(config, SECRET, RealClock())


async def call(api: FaceCompare2018) -> float:
    """The duration of one API call in ms."""
    start_s = time.perf_counter()
    await api.compare(SHOT, PHOTO, timeout_ms=5_000)
    return (time.perf_counter() - start_s) * 1e3


async def warm(api: FaceCompare2018, number: int) -> None:
    """Open the connection for the next call, as at the begin of a verification."""
    await api.prepare(request(number=number))
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "compare-warm"))


async def warm_calls(port: int, ca_file: Path) -> tuple[list[float], list[float]]:
    """(network, calls) in ms, measured alternately. Network: the same bytes over an open connection."""
    context = ssl.create_default_context(cafile=ca_file)
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    body = SHOT + PHOTO
    raw_request = f"POST / HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    network, calls = list[float](), list[float]()
    for _ in range(CALLS // BURST):
        api = new_client(port, ca_file)  # a new client for each burst, because of its rate limit
        for number in range(BURST):
            await warm(api, number)
            start_s = time.perf_counter()
            writer.write(raw_request)
            await reader.readexactly(len(http(SUCCESS)))
            network.append((time.perf_counter() - start_s) * 1e3)
            calls.append(await call(api))
        await api.close()
    writer.close()
    await writer.wait_closed()
    return network, calls


async def first_calls(port: int, ca_file: Path, *, warmed: bool) -> list[float]:
    times = list[float]()
    for number in range(VISITS):
        api = new_client(port, ca_file)
        if warmed:
            await warm(api, number)
        times.append(await call(api))
        await api.close()
    return times


async def repetition(port: int, ca_file: Path, number: int) -> list[Row]:
    network, calls = await warm_calls(port, ca_file)
    async with delayed(port) as delayed_port:
        cold = await first_calls(delayed_port, ca_file, warmed=False)
        warmed = await first_calls(delayed_port, ca_file, warmed=True)
    overhead = statistics.median(calls) - statistics.median(network)
    ratio = statistics.median(cold) / statistics.median(warmed)
    measured = zip(WHAT, (network, calls, cold, warmed), strict=True)
    rows: list[Row] = [{"what": what, "run": number, **spread(times, 2)} for what, times in measured]
    rows.append({"what": "warm overhead (difference of p50)", "run": number, "p50": round(overhead, 2)})
    rows.append({"what": "cold over warmed (ratio of p50)", "run": number, "p50": round(ratio, 2)})
    return rows


def run(*, quick: bool) -> Section:
    section = Section(f"compare client over TLS, {len(SHOT) + len(PHOTO)} bytes per API call (ms)")
    with tempfile.TemporaryDirectory() as name:
        cert_file, _ = self_signed(Path(name))
        command = [sys.executable, "-m", "tests.bench.compare_client", name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            try:
                for number in range(1, 2 if quick else 1 + REPETITIONS):
                    section.rows += asyncio.run(repetition(port, cert_file, number))
            finally:
                server.terminate()
    p50 = {
        what: statistics.median(row["p50"] for row in section.rows if row["what"] == what) for what in WHAT
    }
    section.measure("warm_call", p50[WHAT[1]], p50[WHAT[0]])
    section.measure("warmed_first_call", p50[WHAT[3]], p50[WHAT[2]])
    return section


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
