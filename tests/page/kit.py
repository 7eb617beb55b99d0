"""The page without an agent: real HTTP on loopback, data supplied by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from agent.config import Config
from agent.control.status import StatusFacts, status_document
from agent.core.model import Assurance, Comparison, Result, Timings
from agent.core.reasons import Decision, FrameReason, Reason
from agent.errors import AgentError
from agent.health.condition_tracker import ShownCondition
from agent.health.conditions import CONDITIONS
from agent.health.counters import Counters
from agent.live_view.annotate import notice_picture
from agent.page.app import Sources, application
from agent.page.doctor_job import DoctorJob, Rows
from agent.page.listener import Listener
from agent.page.login import SessionStore
from agent.page.preview import Picture, Preview
from tests.fakes import request

TOKEN = "a-token-of-the-test-0123"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SEEN = {"reason": "too_small", "guidance": "come_closer", "measures": []}
A_FACE = b"\xff\xd8 a face \xff\xd9"
ROW = {
    "id": "sys.disk",
    "title": "Disk",
    "title_zh": "磁盘",
    "verdict": "fail",
    "why": "full <b>up</b>",
    "why_zh": "<b>磁盘</b>已满",
    "because": "",
    "fix": "Free some space.",
    "fix_zh": "请清理磁盘空间。",
    "docs": "docs/reference/doctor.md#sysdisk",
    "spent_ms": 3,
}


@dataclass
class Lens:
    """The camera of the page: one picture every 5 ms, or an error."""

    error: AgentError | None = None
    made: int = 0
    announced: list[bool] = field(default_factory=list)
    picture: bytes = A_FACE

    async def look(self) -> Picture:
        assert self.announced and self.announced[-1], "no picture before it is announced"
        await asyncio.sleep(0.005)
        if self.error is not None:
            raise self.error
        self.made += 1
        return Picture(self.picture + str(self.made).encode(), SEEN)

    async def announce(self, is_open: bool) -> None:
        await asyncio.sleep(0.01)
        self.announced.append(is_open)

    def preview(self) -> Preview:
        return Preview(self.look, notice_picture, self.announce)


def status(*codes: str, results: int = 3) -> dict[str, Any]:
    counters = Counters(calls=2, bytes_sent=40_000)
    counters.frames.update({FrameReason.IDLE: 100, FrameReason.NO_FACE: 7, FrameReason.SHOT: 2})
    for number in range(results):
        answer = Comparison(93.0, 80.0, "scripted", session_id="session-of-the-api", api_ms=140)
        timings = Timings(wait_face=200, hold=60, api=140, total=420 + number)
        asked = request(f"secret-sale-{number}")
        counters.recent.append(
            Result(asked, Decision.MATCH, Reason.SAME_PERSON, 1, answer, timings, Assurance())
        )
        counters.results["match/same_person"] += 1
    camera = {"fps": 9.8, "frame_age_ms": 40, "mean_luma": 120}
    conditions = tuple(ShownCondition(CONDITIONS[code], lasted_ms=5_000) for code in codes)
    return status_document(
        Config(), StatusFacts(3_700, conditions, counters, camera, is_connected=True, outbox_depth=0)
    )


@dataclass
class PageSetup:
    """The data of the page, set by a test before ``opened``."""

    lens: Lens = field(default_factory=Lens)
    status: Callable[[], dict[str, Any]] = status
    examine: Callable[[], Rows] = lambda: [ROW]
    preview_on: bool = True
    metrics: Callable[[Any], bytes] = lambda _: b""
    token: bytes | None = b"a-token-of-the-test-0123"

    def sources(self) -> Sources:
        preview = self.lens.preview() if self.preview_on else None
        return Sources(self.status, DoctorJob(self.examine), preview, self.metrics)


@dataclass
class Open:
    """An open page."""

    listener: Listener
    preview: Preview | None
    keys: SessionStore

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.port}"

    def client(self, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.AsyncClient:
        """A program that has the token."""
        return self.stranger(headers=BEARER | (headers or {}), **more)

    def stranger(self, **more: Any) -> httpx.AsyncClient:
        # The page has no TLS: a client that loads no certificates saves 20 ms of CPU.
        return httpx.AsyncClient(base_url=self.url, timeout=60, verify=False, **more)


@asynccontextmanager
async def opened(
    setup: PageSetup | None = None, *, now_s: Callable[[], float] | None = None
) -> AsyncIterator[Open]:
    setup = setup or PageSetup()
    clock = now_s or asyncio.get_running_loop().time
    sources = setup.sources()
    keys = SessionStore(setup.token, secure=False, now_s=clock)
    listener = Listener(application(sources, keys, now_s=clock))
    async with AsyncExitStack() as stack:
        if sources.preview is not None:
            stack.push_async_callback(sources.preview.close)
        stack.push_async_callback(listener.close)
        await listener.open("127.0.0.1", 0)
        yield Open(listener, sources.preview, keys)


async def until(holds: Callable[[], bool], timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.01)


async def raw(page: Open, sent: bytes, *, timeout_s: float = 60) -> bytes:
    """All bytes that the page sends on one connection until the page closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", page.listener.port)
    try:
        writer.write(sent)
        return await asyncio.wait_for(reader.read(), timeout_s)
    finally:
        writer.close()
