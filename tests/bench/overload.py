"""The compare service under more clients than it can answer: answers per CPU second of the service.

The service is a program with one worker, the clients are another process. A client sends the next request
directly after an answer, also after a refusal, and leaves after 2.5 s.

CPU seconds of the service and not seconds: clients and service share the cores of this machine. On a machine
that other programs use, the figure is not judged: a service that gets a tenth of a core refuses most
requests, and its few CPU seconds are those of the refusals. Direct call, for the clients:
``python -m tests.bench.overload URL CLIENTS SECONDS`` prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

import httpx

from agent.resources import data
from tests.bench.cost import cpu_of
from tests.bench.report import Row, Section, percentile
from tests.bench.service import varied
from tests.service.kit import APPID, sign
from tests.service.program import Program, program

PATIENCE_S = 2.5
GOODPUT = "answers per CPU second"
# clients -> the goals: goodput, and p99 of the answers
LOADS = {16: ("overload_16", "overload_16_p99"), 40: ("overload_40", "overload_40_p99")}
SHOT, ENROLLED = (
    data(f"photos/enrolled/{name}.jpg").read_bytes() for name in ("obama_podium", "obama_portrait")
)


async def send(url: str, clients: int, seconds: float) -> tuple[list[float], int, int]:
    """(seconds of each answer with a result, refusals, requests that the client left)."""
    took_s, refused, left, numbers = list[float](), 0, 0, count(time.time_ns() % 10**9)
    until_s = time.monotonic() + seconds

    async def client() -> None:
        nonlocal refused, left
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S, limits=limits) as http:
            while time.monotonic() < until_s:
                pictures = {
                    name: (f"{name}.jpg", varied(picture, next(numbers)), "image/jpeg")
                    for name, picture in (("imageA", SHOT), ("imageB", ENROLLED))
                }
                start_s = time.monotonic()
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        answer = await http.post(
                            url, headers={"Authorization": sign()}, data={"appid": APPID}, files=pictures
                        )
                except (httpx.HTTPError, TimeoutError):
                    left += 1
                    continue
                if answer.json()["code"] == 0:
                    took_s.append(time.monotonic() - start_s)
                else:
                    refused += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return took_s, refused, left


def load(service: Program, clients: int, seconds: float) -> Row:
    command = [sys.executable, "-m", "tests.bench.overload", service.url, str(clients), str(seconds)]
    start_s = cpu_of(service.process.pid)
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    took_s, refused, left = json.loads(done.stdout)
    spent_s = cpu_of(service.process.pid) - start_s
    return {
        "clients": clients,
        "answers": len(took_s),
        "refused": refused,
        "left": left,
        "CPU (s)": round(spent_s, 2),
        GOODPUT: round(len(took_s) / spent_s, 2),
        "p99 (ms)": round(1e3 * percentile(took_s, 0.99)) if took_s else 0,
    }


def run(*, quick: bool) -> Section:
    section = Section("compare service with more clients than it can answer, one worker")
    seconds = 2 if quick else 10
    # fresh: a child of this process, so that its CPU time is not taken for that of other programs
    with tempfile.TemporaryDirectory() as name, program(Path(name), fresh=True) as service:
        load(service, 1, 2)
        section.rows.append(one := load(service, 1, seconds))
        for clients, (goodput, p99) in LOADS.items():
            section.rows.append(row := load(service, clients, seconds))
            section.measure(goodput, row[GOODPUT], one[GOODPUT])
            if row["answers"]:  # otherwise no time was measured
                section.measure(p99, row["p99 (ms)"])
    section.notes.append("both pictures new; a refused client sends its next request at once")
    return section


if __name__ == "__main__":
    print(json.dumps(asyncio.run(send(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
