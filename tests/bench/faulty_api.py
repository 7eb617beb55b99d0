"""``python -m tests.bench.faulty_api [--count N] [--seed S]``: the compare client against a faulty API.

The client runs alone, with short time-outs, over plain HTTP and TLS alternately. A faulty request ends by the
client's time-out, by ``cancel`` within some milliseconds of the time-out, or by both. Between faults the API
is healthy: each request to the healthy API must get its own answer. The program counts healthy requests
without an answer, answers of another request, calls that arrived and were not counted as sent, and the
connections, file descriptors and threads of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import ssl
import tempfile
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from agent.compare.face2018_client import FaceCompare2018
from agent.config import CompareConfig
from agent.core.model import Crop, Reference, Request
from agent.errors import CompareError
from tests.bench.faulty_api_server import FAULTS, FaultyApi, faulty_api
from tests.bench.page import markdown
from tests.bench.report import Row, Section, machine, machine_line, table
from tests.compare.vectors import ACCOUNT, SECRET
from tests.fakes import RealClock
from tests.service.certificates import self_signed

BEGIN, END = "## An API with faults", "## The memory card"  # this program writes the text between the two
PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "long-life.md"
COUNT, BLOCKS, SEED = 10_000, 10, 1
FAULTY_MS, HEALTHY_MS, SETTLE_S = 40, 30_000, 30.0
CLOCK_FACTOR = 500  # speed of the client's clock: avoids its local rate limit of 5 calls a second
JPEG = b"\xff\xd8\xff\xe0 the enrolled photo"

INTRO = """`python -m tests.bench.faulty_api` sends requests with the compare client to an API that answers
late, ends connections early or sends false answers, over plain HTTP and TLS. A request to the faulty API has
40 ms, and most are cancelled at about that time, once or twice. After one to four of them the API is healthy
for one request, which must be answered. `make test-full` runs two thousand requests.
"""


class FastClock(RealClock):
    def now_ms(self) -> int:
        return super().now_ms() * CLOCK_FACTOR


@dataclass
class Counts:
    """The outcomes of the requests so far."""

    requests: int = 0
    unanswered: int = 0  # no answer from a healthy API
    foreign: int = 0  # answers of another request
    sent: int = 0  # calls that the client counted as sent (paid)
    outcomes: Counter[str] = field(default_factory=Counter)
    longest_healthy_ms: int = 0


@dataclass
class Driver:
    """One client and its API."""

    api: FaceCompare2018
    faulty_api: FaultyApi
    counts: Counts
    random_source: random.Random

    async def request(self, number: int, timeout_ms: int) -> None:
        """One request with the calls of a verification. Raises ``CompareError``."""
        reference = await self.api.prepare(_request(number))  # sometimes opens another connection
        answer = await self.api.call(
            reference, Crop(JPEG + _number_mark(number), 1, 1), 1, timeout_ms, self._sent
        )
        self.counts.foreign += answer.session_id != str(number)

    async def faulty(self, number: int) -> str:
        """A request with a fault, which may be cancelled near its time-out; returns the outcome."""
        kind = self.random_source.choice(FAULTS)
        self.faulty_api.fault = kind
        task = asyncio.create_task(self.request(number, FAULTY_MS))
        ending = self.random_source.choice(("by itself", "cancelled", "cancelled twice"))
        if ending != "by itself":
            await asyncio.wait(
                (task,), timeout=(FAULTY_MS + self.random_source.choice((-30, -1, 0, 1, 2, 5))) / 1e3
            )
            task.cancel()
            if ending == "cancelled twice":
                await asyncio.sleep(self.random_source.choice((0.0, 0.0, 0.001)))
                task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        self.faulty_api.fault = None
        if isinstance(outcome, CompareError | asyncio.CancelledError):
            return getattr(outcome, "code", "cancelled")
        if outcome is not None:
            raise outcome  # neither an answer nor a ``CompareError``: a bug
        return "answered"

    async def healthy(self, number: int) -> str:
        start_s = time.monotonic()
        try:
            await self.request(number, HEALTHY_MS)
        except CompareError as error:
            self.counts.unanswered += 1
            return f"unanswered: {error.code}"
        took_ms = round((time.monotonic() - start_s) * 1e3)
        self.counts.longest_healthy_ms = max(self.counts.longest_healthy_ms, took_ms)
        return "answered"

    def _sent(self) -> None:
        self.counts.sent += 1


def _request(number: int) -> Request:
    return Request(
        request_id=f"request-{number}",
        till="till-1",
        transaction_id="t",
        nonce="n",
        epoch="e",
        ttl_ms=8_000,
        reference=Reference(image=JPEG),
        payload_sha256="",
        received_ms=FastClock().now_ms(),
        budget_ms=8_000,
    )


def _number_mark(number: int) -> bytes:
    return b"<number %d>" % number


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _count_when_idle(drivers: list[Driver], before: int) -> Row:
    """The open connections and descriptors after all tasks have ended: at most one connection per driver.

    ``before``: the file descriptors without connections. A kept connection has two ends in this process.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            while (  # noqa: ASYNC110 - the kernel announces no close
                any(driver.faulty_api.open > 1 for driver in drivers)
                or _descriptors() > before + 2 * sum(driver.faulty_api.open for driver in drivers)
            ):
                await asyncio.sleep(0.02)
    still_open = sum(driver.faulty_api.open for driver in drivers)
    return {
        "kept connections": still_open,
        "descriptors besides": _descriptors() - before - 2 * still_open,
        "threads": threading.active_count(),
    }


async def play(folder: Path, count: int, seed: int) -> Section:
    """The figures of ``count`` requests, healthy and faulty alternately."""
    section = Section(f"{count} requests to an API with faults")
    counts, random_source = Counts(), random.Random(seed)
    cert, key = self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with AsyncExitStack() as stack:
        drivers = list[Driver]()
        for scheme, tls in (("http", None), ("https", context)):
            server = await stack.enter_async_context(faulty_api(tls))
            url = f"{scheme}://localhost:{server.port}/face/compare"
            config = CompareConfig(
                url=url, ca_file=cert, appid=ACCOUNT["appid"], secret_id=ACCOUNT["secret_id"]
            )
            api = FaceCompare2018(config, SECRET, FastClock(), profile="demo")
            stack.push_async_callback(api.close)
            drivers.append(Driver(api, server, counts, random_source))
        before = _descriptors()
        for block in range(1, BLOCKS + 1):
            while counts.requests < count * block // BLOCKS:
                await _turn(random_source.choice(drivers), counts)
            section.rows.append(
                {
                    "after": counts.requests,
                    "unanswered": counts.unanswered,
                    "foreign answers": counts.foreign,
                    **await _count_when_idle(drivers, before),
                }
            )
        arrived = sum(driver.faulty_api.arrived for driver in drivers)
    _judge(section, counts, arrived)
    return section


async def _turn(driver: Driver, counts: Counts) -> None:
    """One to four faulty requests, then one healthy request."""
    for _ in range(driver.random_source.randint(1, 4)):
        counts.requests += 1
        counts.outcomes[await driver.faulty(counts.requests)] += 1
    counts.requests += 1
    counts.outcomes[await driver.healthy(counts.requests)] += 1


def _judge(section: Section, counts: Counts, arrived: int) -> None:
    last = section.rows[-1]
    section.goal("healthy requests without an answer", counts.unanswered, at_most=0)
    section.goal("answers of another request", counts.foreign, at_most=0)
    section.goal("calls that arrived and were not counted as sent", max(0, arrived - counts.sent), at_most=0)
    section.goal("descriptors besides the kept connections", last["descriptors besides"], at_most=0)
    section.goal("threads (asyncio's for name lookups are six at most)", last["threads"], at_most=7)
    section.notes += [
        f"ends of the requests: {', '.join(f'{name} {n}' for name, n in counts.outcomes.most_common())}",
        f"counted as sent: {counts.sent}; arrived as a whole: {arrived}",
        f"the longest wait for a healthy answer: {counts.longest_healthy_ms} ms",
    ]


def page(section: Section) -> str:
    """The text of docs/reference/long-life.md with this section replaced."""
    notes = "".join(f"- {note}\n" for note in section.notes)
    text = PAGE.read_text(encoding="utf-8")
    before = text[: text.index(BEGIN)] if BEGIN in text else text[: text.index(END)]
    here = f"**Machine.** {machine_line(machine())}.\n"
    parts = [f"{BEGIN}\n", INTRO, here, markdown(section.goals), markdown(section.rows), notes]
    return before + "\n".join(parts) + "\n" + text[text.index(END) :]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.faulty_api")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        section = asyncio.run(play(Path(name), options.count, options.seed))
    print(table(section))
    print(*(f"{row['goal']}: {row['measured']} ({row['reached']})" for row in section.goals), sep="\n")
    if options.count == COUNT:
        PAGE.write_text(page(section), encoding="utf-8")


if __name__ == "__main__":
    main()
