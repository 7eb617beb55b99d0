"""An agent process that kills itself at a named point: ``python -m tests.chaos.victim CONFIG POINT N``.

Daemon, outbox, MQTT connection, delivery and signatures are production code. Camera, face analyzer and API
are fakes that always lead to a match. The API records each paid call before its answer; one answer in ten is
slow.
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
from agent.core.ports import ClaimRecord, ClaimStore, ImageSource, Inbound, StoredResult, TillEvent
from agent.errors import StorageError
from agent.root.daemon import Overrides, serve
from agent.root.handle import AgentHandle
from agent.terminal.parts import Ports
from tests.fakes import PacedCamera, StagedAnalyzer, check_frame

CALLS = "calls.txt"
NO_STORAGE = 74  # EX_IOERR: the start failed, because the storage is not writable
API_MS = 30
SLOW_SHARE, SLOW_MS = 0.1, (200, 1_200)  # share and latency of slow answers, below the time-out of a call
SLOW = "slow.txt"


class KillPoint(StrEnum):
    """The point of a kill, in the order of a request's steps."""

    BEFORE_CLAIM = "before the claim"
    CLAIMED = "claimed"
    IN_FLIGHT = "call in flight"
    STORED = "result stored"
    PUBLISHED = "published"
    ACKNOWLEDGED = "acknowledged"
    NONE = "none"


class KillSwitch:
    """Counts down at one point; at zero SIGKILL ends the process, as a power cut does."""

    def __init__(self, point: KillPoint, countdown: int) -> None:
        self._point, self._countdown = point, countdown

    def reach(self, point: KillPoint) -> None:
        if point is self._point:
            self._countdown -= 1
            if self._countdown <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


class KillableClaimStore:
    def __init__(self, inner: ClaimStore, kill_switch: KillSwitch) -> None:
        self._inner, self._kill_switch = inner, kill_switch

    async def find(self, till: str, request_id: str) -> ClaimRecord | None:
        return await self._inner.find(till, request_id)

    async def claim(self, request: Request) -> None:
        self._kill_switch.reach(KillPoint.BEFORE_CLAIM)
        await self._inner.claim(request)
        self._kill_switch.reach(KillPoint.CLAIMED)

    async def settle(self, result: Result) -> StoredResult:
        stored = await self._inner.settle(result)
        self._kill_switch.reach(KillPoint.STORED)
        return stored


class RecordedApi:
    """Records every paid call on disk before the answer."""

    def __init__(self, calls: Path, kill_switch: KillSwitch) -> None:
        self._calls, self._kill_switch = calls, kill_switch

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
        self._kill_switch.reach(KillPoint.IN_FLIGHT)
        await asyncio.sleep(self._latency_ms() / 1e3)
        return Comparison(93.0, 80.0, "chaos", "session", 0)

    async def close(self) -> None: ...

    def _latency_ms(self) -> int:
        if random.random() >= SLOW_SHARE:
            return API_MS
        with self._calls.with_name(SLOW).open("a") as file:
            file.write("slow\n")
        return random.randint(*SLOW_MS)


class KillableTill:
    def __init__(self, ports: Ports, kill_switch: KillSwitch) -> None:
        self._inner, self._kill_switch = ports.till, kill_switch

    async def receive(self) -> Inbound:
        return await self._inner.receive()

    async def publish(self, event: TillEvent) -> None:
        await self._inner.publish(event)

    async def deliver(self, stored: StoredResult, *, again: bool = False) -> None:
        await self._inner.deliver(stored, again=again)
        self._kill_switch.reach(KillPoint.PUBLISHED)


def replace_ports(kill_switch: KillSwitch, calls: Path) -> Callable[[Ports], Ports]:
    def adapt(ports: Ports) -> Ports:
        return replace(
            ports,
            analyzer=StagedAnalyzer(),
            check_frame=check_frame,
            compare=RecordedApi(calls, kill_switch),
            claim_store=KillableClaimStore(ports.claim_store, kill_switch),
            till=KillableTill(ports, kill_switch),
        )

    return adapt


def watch_acknowledgements(running: AgentHandle, kill_switch: KillSwitch) -> None:
    """Reach the last point after an acknowledgement is stored, which does not pass a port."""
    outbox = running.till.result_sender._outbox
    close_result = outbox.close_result

    async def close_and_reach(till: str, result_id: str) -> bool:
        was_open = await close_result(till, result_id)
        kill_switch.reach(KillPoint.ACKNOWLEDGED)
        return was_open

    outbox.close_result = close_and_reach  # type: ignore[method-assign]


async def main(config_file: Path, point: KillPoint, countdown: int) -> None:
    config, kill_switch, stop = load(config_file, Config), KillSwitch(point, countdown), asyncio.Event()
    log.setup("warning", json_lines=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    overrides = Overrides(
        PacedCamera(),
        replace_ports(kill_switch, config_file.parent / CALLS),
        lambda running: watch_acknowledgements(running, kill_switch),
    )
    await serve(config, stop, overrides)


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1]), KillPoint(sys.argv[2]), int(sys.argv[3])))
    except StorageError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(NO_STORAGE)
