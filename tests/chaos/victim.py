"""The agent as a process that kills itself at a named point: ``python -m tests.chaos.victim CONFIG POINT N``.

Everything that must survive is real: daemon, outbox, link, courier, signatures. Camera, eye and API are fakes
that always return a match; the API records each paid call before it answers, and one answer in ten is slow.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from agent import log
from agent.config import Config
from agent.config.file import load
from agent.core.model import Comparison, Crop, Request, Result
from agent.core.ports import Claimed, ImageSource, Inbound, Ledger, StoredResult, TillEvent
from agent.errors import StorageError
from agent.root.daemon import Overrides, serve
from agent.root.handle import AgentHandle
from agent.terminal.parts import Ports
from tests.fakes import PacedCamera, StagedEye, glance

CALLS = "calls.txt"
NO_STORAGE = 74  # EX_IOERR: it could not start, because nothing can be stored
API_MS = 30
SLOW_SHARE, SLOW_MS = 0.1, (200, 1_200)  # of the answers, and how late they are: still within a call's time
SLOW = "slow.txt"


class Point(StrEnum):
    """Where a power cut hits, in the order of a request's life."""

    BEFORE_CLAIM = "before the claim"
    CLAIMED = "claimed"
    IN_FLIGHT = "call in flight"
    STORED = "result stored"
    PUBLISHED = "published"
    ACKNOWLEDGED = "acknowledged"
    NONE = "none"


class Fuse:
    """Burns down at its own point; at zero the process is gone, as a power cut does it."""

    def __init__(self, point: Point, left: int) -> None:
        self._point, self._left = point, left

    def burn(self, point: Point) -> None:
        if point is self._point:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


class DyingLedger:
    def __init__(self, inner: Ledger, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    async def find(self, till: str, request_id: str) -> Claimed | None:
        return await self._inner.find(till, request_id)

    async def claim(self, request: Request) -> None:
        self._fuse.burn(Point.BEFORE_CLAIM)
        await self._inner.claim(request)
        self._fuse.burn(Point.CLAIMED)

    async def settle(self, result: Result) -> StoredResult:
        stored = await self._inner.settle(result)
        self._fuse.burn(Point.STORED)
        return stored


class PaidApi:
    """Every question costs money: it is on disk before the answer leaves."""

    def __init__(self, calls: Path, fuse: Fuse) -> None:
        self._calls, self._fuse = calls, fuse

    async def prepare(self, request: Request) -> ImageSource:
        return f"{request.till} {request.request_id}"  # in place of the url of a photo

    async def call(
        self, reference: ImageSource, crop: Crop, number: int, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        on_sent()
        descriptor = os.open(self._calls, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, f"{reference!s}\n".encode())
        os.fsync(descriptor)
        os.close(descriptor)
        self._fuse.burn(Point.IN_FLIGHT)
        await asyncio.sleep(self._latency_ms() / 1e3)
        return Comparison(93.0, 80.0, "chaos", "session", 0)

    async def close(self) -> None: ...

    def _latency_ms(self) -> int:
        if random.random() >= SLOW_SHARE:
            return API_MS
        with self._calls.with_name(SLOW).open("a") as file:
            file.write("slow\n")
        return random.randint(*SLOW_MS)


class DyingTill:
    def __init__(self, ports: Ports, fuse: Fuse) -> None:
        self._inner, self._fuse = ports.till, fuse

    async def receive(self) -> Inbound:
        return await self._inner.receive()

    async def tell(self, event: TillEvent) -> None:
        await self._inner.tell(event)

    async def deliver(self, stored: StoredResult) -> None:
        await self._inner.deliver(stored)
        self._fuse.burn(Point.PUBLISHED)


def rigged(fuse: Fuse, calls: Path) -> Callable[[Ports], Ports]:
    def adapt(ports: Ports) -> Ports:
        return replace(
            ports,
            eye=StagedEye(),
            glance=glance,
            compare=PaidApi(calls, fuse),
            ledger=DyingLedger(ports.ledger, fuse),
            till=DyingTill(ports, fuse),
        )

    return adapt


def rig_ack(running: AgentHandle, fuse: Fuse) -> None:
    """Acks never pass a port: the outbox closes its row itself."""
    courier = running.till.courier
    acknowledged = courier.acknowledged

    async def dying(till: str, result_id: str) -> None:
        await acknowledged(till, result_id)
        fuse.burn(Point.ACKNOWLEDGED)

    courier.acknowledged = dying  # type: ignore[method-assign]


async def main(config_file: Path, point: Point, left: int) -> None:
    config, fuse, stop = load(config_file, Config), Fuse(point, left), asyncio.Event()
    log.setup("warning", json_lines=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    overrides = Overrides(
        PacedCamera(), rigged(fuse, config_file.parent / CALLS), lambda running: rig_ack(running, fuse)
    )
    await serve(config, stop, overrides)


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1]), Point(sys.argv[2]), int(sys.argv[3])))
    except StorageError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(NO_STORAGE)
