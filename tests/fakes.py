"""Fakes with behaviour: each keeps the rules of its port, and tests can make it fail."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable

from agent.core.model import (
    Analysis,
    CameraHealth,
    Comparison,
    Crop,
    Frame,
    Quality,
    Reference,
    Request,
    Result,
    Shot,
)
from agent.core.ports import ClaimRecord, ImageSource, Inbound, StoredResult, TillEvent
from agent.core.reasons import Decision, FrameReason
from agent.errors import AgentError, CameraError
from tests.core.builders import FACE

EPOCH = "epoch-of-the-test"


class RealClock:
    def now_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000


class PacedCamera:
    """A frame every 5 ms; while ``broken`` is set, ``next_frame`` raises it."""

    def __init__(self) -> None:
        self.broken: CameraError | None = None
        self._seq = itertools.count(1)

    def start(self) -> None: ...

    async def next_frame(self, after_seq: int) -> Frame:
        await asyncio.sleep(0.005)
        if self.broken is not None:
            raise self.broken
        seq = next(self._seq)
        assert seq > after_seq
        return Frame(None, seq, RealClock().now_ms(), 1280, 720)

    def stop(self) -> None: ...


class StagedAnalyzer:
    """Returns the reason ``stage``; an analysis before ``begin`` fails the test."""

    def __init__(self) -> None:
        self.stage: FrameReason = FrameReason.SHOT
        self.score = 95.0
        self.track = 1
        self.begun = 0
        self.analyses = self.crops = 0
        self.bug: Exception | None = None

    def begin(self, at_ms: int) -> None:
        self.begun += 1

    def analyze(self, frame: Frame) -> Analysis:
        assert self.begun, "no face detection without an accepted request"
        self.analyses += 1
        if self.bug is not None:
            raise self.bug
        if self.stage is not FrameReason.SHOT:
            return Analysis(frame.seq, frame.captured_ms, self.stage)
        quality = Quality(*[self.score] * 11)
        shot = Shot(frame, FACE, quality, self.track)
        return Analysis(frame.seq, frame.captured_ms, self.stage, FACE, self.track, quality, shot)

    def crop(self, shot: Shot) -> Crop:
        self.crops += 1
        return Crop(b"\xff\xd8 a face \xff\xd9", 160, 200)


Answer = float | Exception


class ScriptedCompare:
    """Answers from a list and repeats the last one; an exception is raised, a number is a similarity."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [93.0]
        self.calls: list[int] = []
        self.answered: list[tuple[str, float]] = []  # request_id, similarity
        self.prepared = 0
        self.reference_error: AgentError | None = None
        self.delay_s = 0.0
        self.cancelled = 0
        self.is_reached = True  # requests are sent; False: no connection

    async def prepare(self, request: Request) -> ImageSource:
        self.prepared += 1
        if self.reference_error is not None:
            raise self.reference_error
        return request.request_id  # in place of the url of a photo

    async def call(
        self, reference: ImageSource, crop: Crop, number: int, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        self.calls.append(number)
        if self.is_reached:
            on_sent()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(answer, Exception):
            raise answer
        self.answered.append((str(reference), answer))
        return Comparison(answer, 80.0, "scripted", api_ms=1)

    async def close(self) -> None: ...


class MemoryClaimStore:
    """Claims and results in memory, with the rules of the port: first outcome wins, seq only grows."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], ClaimRecord] = {}
        self.settled: list[Result] = []
        self.claim_error: AgentError | None = None
        self.settle_error: AgentError | None = None

    async def find(self, till: str, request_id: str) -> ClaimRecord | None:
        return self.rows.get((till, request_id))

    async def claim(self, request: Request) -> None:
        if self.claim_error is not None:
            raise self.claim_error
        assert (request.till, request.request_id) not in self.rows, "claimed twice"
        self.rows[request.till, request.request_id] = ClaimRecord(request.payload_sha256, None)

    async def settle(self, result: Result) -> StoredResult:
        if self.settle_error is not None:
            raise self.settle_error
        request = result.request
        known = self.rows[request.till, request.request_id]
        if known.result is not None:
            return known.result
        self.settled.append(result)
        payload = f"{result.decision}/{result.reason}".encode()
        stored = StoredResult(
            request.till,
            request.request_id,
            str(uuid.uuid4()),
            len(self.settled),
            payload,
            result.decision is Decision.MATCH,
            request.deadline_ms,
        )
        self.rows[request.till, request.request_id] = ClaimRecord(known.payload_sha256, stored)
        return stored


class QueueTill:
    """A till port as two lists and a queue. ``puback``: a new result waits for it."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[Inbound] = asyncio.Queue()
        self.events: list[TillEvent] = []
        self.delivered: list[StoredResult] = []
        self.puback: asyncio.Event | None = None
        self._changed = asyncio.Event()

    async def receive(self) -> Inbound:
        return await self.inbox.get()

    async def publish(self, event: TillEvent) -> None:
        self.events.append(event)
        self._changed.set()

    async def deliver(self, stored: StoredResult, *, again: bool = False) -> None:
        self.delivered.append(stored)
        self._changed.set()
        if not again and self.puback is not None:
            await self.puback.wait()

    async def until(self, holds: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait until an event or a result makes ``holds`` true."""
        async with asyncio.timeout(timeout_s):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


def check_frame(frame: Frame) -> CameraHealth:
    return CameraHealth(mean_luma=120.0)


def request(
    request_id: str = "r-1", *, budget_ms: int = 3_000, epoch: str = EPOCH, till: str = "till-1"
) -> Request:
    return Request(
        request_id=request_id,
        till=till,
        transaction_id=f"sale-{request_id}",
        nonce="0123456789abcdef0123456789abcdef",
        epoch=epoch,
        ttl_ms=budget_ms,
        reference=Reference(image=b"enrolled", sha256="00" * 32),
        payload_sha256="ab" * 32,
        received_ms=RealClock().now_ms(),
        budget_ms=budget_ms,
    )
