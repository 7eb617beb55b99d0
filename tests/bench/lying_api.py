"""``python -m tests.bench.lying_api [--count N] [--seed S]``: an API that is slow, cuts, resets and lies.

The compare client alone, with compressed time-outs, over plain HTTP and TLS by turns. Faulty requests are
ended by the client's time-out, by ``cancel`` some milliseconds around it, or by both. Between them the API is
healthy: each request of a healthy turn must be answered, with the answer that belongs to it. Counted are
wedges (a healthy API that gave no answer), answers of another request, calls that arrived and were not
counted as sent, and the connections, file descriptors and threads of this process.
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
from tests.bench.liar import FAULTS, Liar, liar
from tests.bench.page import markdown
from tests.bench.report import Row, Section, machine, machine_line, table
from tests.compare.vectors import ACCOUNT, SECRET
from tests.fakes import RealClock
from tests.service.certificates import self_signed

BEGIN, END = "## An API that lies", "## The memory card"  # this program writes what is between the two
PAGE = Path(__file__).parent.parent.parent / "docs" / "long-life.md"
COUNT, BLOCKS, SEED = 10_000, 10, 1
FAULTY_MS, HEALTHY_MS, SETTLE_S = 40, 30_000, 30.0
FASTER = 500  # the client's clock: its local rate limit of 5 calls a second is not what is measured here
JPEG = b"\xff\xd8\xff\xe0 the enrolled photo"

INTRO = """`python -m tests.bench.lying_api` sends ten thousand requests with the compare client to an API
that is slow, cuts, resets and lies by turns, over plain HTTP and TLS. Faulty requests have 40 ms to be
answered, and most are cancelled about then, once or twice. A wedge is a request to the healthy API between
the faults that is not answered. `make test-full` runs two thousand.
"""


class FastClock(RealClock):
    def now_ms(self) -> int:
        return super().now_ms() * FASTER


@dataclass
class Tally:
    """What became of the requests so far."""

    requests: int = 0
    wedges: int = 0  # a healthy API, and no answer
    foreign: int = 0  # an answer of another request
    sent: int = 0  # as the client counted: paid for
    outcomes: Counter[str] = field(default_factory=Counter)
    longest_healthy_ms: int = 0


@dataclass
class Driver:
    """One client and the API it talks to."""

    api: FaceCompare2018
    far: Liar
    tally: Tally
    dice: random.Random

    async def ask(self, number: int, timeout_ms: int) -> None:
        """One request, as a verification makes it. Raises ``CompareError``."""
        reference = await self.api.prepare(_request(number))  # may open a second connection
        answer = await self.api.call(reference, Crop(JPEG + _mark(number), 1, 1), 1, timeout_ms, self._sent)
        self.tally.foreign += answer.session_id != str(number)

    async def faulty(self, number: int) -> str:
        """A request that meets a fault, and may be cancelled about when its time is over."""
        kind = self.dice.choice(FAULTS)
        self.far.fault = kind
        task = asyncio.create_task(self.ask(number, FAULTY_MS))
        ends = self.dice.choice(("by itself", "cancelled", "cancelled twice"))
        if ends != "by itself":
            await asyncio.wait((task,), timeout=(FAULTY_MS + self.dice.choice((-30, -1, 0, 1, 2, 5))) / 1e3)
            task.cancel()
            if ends == "cancelled twice":
                await asyncio.sleep(self.dice.choice((0.0, 0.0, 0.001)))
                task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        self.far.fault = None
        if isinstance(outcome, CompareError | asyncio.CancelledError):
            return getattr(outcome, "code", "cancelled")
        if outcome is not None:
            raise outcome  # neither an answer nor an error of ours: a bug
        return "answered"

    async def healthy(self, number: int) -> str:
        began_s = time.monotonic()
        try:
            await self.ask(number, HEALTHY_MS)
        except CompareError as error:
            self.tally.wedges += 1
            return f"wedged: {error.code}"
        took_ms = round((time.monotonic() - began_s) * 1e3)
        self.tally.longest_healthy_ms = max(self.tally.longest_healthy_ms, took_ms)
        return "answered"

    def _sent(self) -> None:
        self.tally.sent += 1


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


def _mark(number: int) -> bytes:
    return b"<number %d>" % number


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _settled(drivers: list[Driver], before: int) -> Row:
    """What is open once all that ends by itself has ended: at most the one kept connection of each driver.

    ``before``: the file descriptors without any connection. A kept connection has two ends in this process.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            while (  # noqa: ASYNC110 - the kernel announces no close
                any(driver.far.open > 1 for driver in drivers)
                or _descriptors() > before + 2 * sum(driver.far.open for driver in drivers)
            ):
                await asyncio.sleep(0.02)
    still_open = sum(driver.far.open for driver in drivers)
    return {
        "kept connections": still_open,
        "descriptors besides": _descriptors() - before - 2 * still_open,
        "threads": threading.active_count(),
    }


async def play(folder: Path, count: int, seed: int) -> Section:
    """``count`` requests in all, healthy and faulty by turns."""
    section = Section(f"{count} requests to an API that lies")
    tally, dice = Tally(), random.Random(seed)
    cert, key = self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with AsyncExitStack() as stack:
        drivers = list[Driver]()
        for scheme, tls in (("http", None), ("https", context)):
            far = await stack.enter_async_context(liar(tls))
            url = f"{scheme}://localhost:{far.port}/face/compare"
            config = CompareConfig(
                url=url, ca_file=cert, appid=ACCOUNT["appid"], secret_id=ACCOUNT["secret_id"]
            )
            api = FaceCompare2018(config, SECRET, FastClock(), profile="demo")
            stack.push_async_callback(api.close)
            drivers.append(Driver(api, far, tally, dice))
        before = _descriptors()
        for block in range(1, BLOCKS + 1):
            while tally.requests < count * block // BLOCKS:
                await _turn(dice.choice(drivers), tally)
            section.rows.append(
                {
                    "after": tally.requests,
                    "wedges": tally.wedges,
                    "foreign answers": tally.foreign,
                    **await _settled(drivers, before),
                }
            )
        arrived = sum(driver.far.arrived for driver in drivers)
    _judge(section, tally, arrived)
    return section


async def _turn(driver: Driver, tally: Tally) -> None:
    """Some faults in a row, then the healthy API."""
    for _ in range(driver.dice.randint(1, 4)):
        tally.requests += 1
        tally.outcomes[await driver.faulty(tally.requests)] += 1
    tally.requests += 1
    tally.outcomes[await driver.healthy(tally.requests)] += 1


def _judge(section: Section, tally: Tally, arrived: int) -> None:
    last = section.rows[-1]
    section.goal("wedges", tally.wedges, at_most=0)
    section.goal("answers of another request", tally.foreign, at_most=0)
    section.goal("calls that arrived and were not counted as sent", max(0, arrived - tally.sent), at_most=0)
    section.goal("descriptors besides the kept connections", last["descriptors besides"], at_most=0)
    section.goal("threads (asyncio's for name lookups are six at most)", last["threads"], at_most=7)
    section.notes += [
        f"ends of the requests: {', '.join(f'{name} {n}' for name, n in tally.outcomes.most_common())}",
        f"counted as sent: {tally.sent}; arrived as a whole: {arrived}",
        f"the longest wait for a healthy answer: {tally.longest_healthy_ms} ms",
    ]


def page(section: Section) -> str:
    """docs/long-life.md with this part written anew."""
    notes = "".join(f"- {note}\n" for note in section.notes)
    text = PAGE.read_text(encoding="utf-8")
    before = text[: text.index(BEGIN)] if BEGIN in text else text[: text.index(END)]
    here = f"**Machine.** {machine_line(machine())}.\n"
    made = [f"{BEGIN}\n", INTRO, here, markdown(section.goals), markdown(section.rows), notes]
    return before + "\n".join(made) + "\n" + text[text.index(END) :]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lying_api")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        section = asyncio.run(play(Path(name), chosen.count, chosen.seed))
    print(table(section))
    print(*(f"{row['goal']}: {row['measured']} ({row['reached']})" for row in section.goals), sep="\n")
    if chosen.count == COUNT:
        PAGE.write_text(page(section), encoding="utf-8")


if __name__ == "__main__":
    main()
