"""The payer's screen without an agent: real HTTP on loopback, events and frames supplied by the test."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from agent.core.model import Assurance, Frame, Request, Result, Timings
from agent.core.ports import AcceptedEvent, GuidanceEvent
from agent.core.reasons import Decision, Guidance, Reason
from agent.page.display_app import DisplayOptions, display_application
from agent.page.display_key import FILE, DisplayKey
from agent.page.listener import Listener
from agent.page.payer_display import PayerDisplay
from tests.fakes import RealClock, request

A_FACE = b"\xff\xd8 a face \xff\xd9"
OPTIONS = DisplayOptions("Corner Shop", "en", sound=False)


def start_url(directory: Path) -> str:
    """The address in the start page."""
    return str(re.findall(r'url=(\S+)"', (directory / FILE).read_text())[0])


@dataclass(frozen=True)
class Received:
    """One message of the stream."""

    tree: dict[str, Any]
    picture: bytes


@dataclass
class OpenDisplay:
    """An open page with its display."""

    display: PayerDisplay
    listener: Listener
    directory: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.port}"

    @property
    def start_url(self) -> str:
        return start_url(self.directory)

    def client(self, *, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
        """A client with the key."""
        key = {"Authorization": "Bearer " + self.start_url.partition("#")[2]}
        return httpx.AsyncClient(base_url=self.url, timeout=60, verify=False, headers=key | (headers or {}))

    def begin(
        self, request_id: str = "sale-1", *, locale: str | None = None, budget_ms: int = 8_000
    ) -> Request:
        """A request is accepted now."""
        now_ms = RealClock().now_ms()
        begun = replace(request(request_id), received_ms=now_ms, budget_ms=budget_ms, locale=locale)
        self.display.observe(AcceptedEvent(begun, budget_ms))
        return begun

    def hint(self, begun: Request, hint: Guidance) -> None:
        self.display.observe(GuidanceEvent(begun, hint))

    def end(self, begun: Request, decision: Decision, reason: Reason) -> None:
        self.display.observe(result(begun, decision, reason))


def result(begun: Request, decision: Decision, reason: Reason) -> Result:
    return Result(begun, decision, reason, 1, None, Timings(), Assurance())


def frame(pixels: object = None, seq: int = 1) -> Frame:
    return Frame(pixels, seq, RealClock().now_ms(), 1280, 720)


@asynccontextmanager
async def opened_display(
    draw: Callable[[Frame], bytes] = lambda _: A_FACE, options: DisplayOptions = OPTIONS
) -> AsyncIterator[OpenDisplay]:
    clock, worker = RealClock(), ThreadPoolExecutor(1)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(worker.shutdown)
        display = PayerDisplay(clock.now_ms, draw, worker)
        stack.push_async_callback(display.close)
        key = DisplayKey(directory)
        listener = Listener(
            display_application(display, key, options, now_ms=clock.now_ms), section="display"
        )
        stack.push_async_callback(listener.close)
        await listener.open("127.0.0.1", 0)
        key.write(listener.port)
        yield OpenDisplay(display, listener, directory)


@asynccontextmanager
async def watching(page: OpenDisplay) -> AsyncIterator[AsyncIterator[Received]]:
    """The messages of the stream, for one viewer."""
    async with page.client() as client, client.stream("GET", "/stream") as answer:
        assert answer.status_code == 200
        yield messages(answer)


async def messages(answer: httpx.Response) -> AsyncIterator[Received]:
    rest = b""
    async for piece in answer.aiter_raw():
        rest += piece
        while len(rest) >= 8:
            text, jpeg = int.from_bytes(rest[:4], "big"), int.from_bytes(rest[4:8], "big")
            if len(rest) < 8 + text + jpeg:
                break
            tree = json.loads(rest[8 : 8 + text])
            yield Received(tree, rest[8 + text : 8 + text + jpeg])
            rest = rest[8 + text + jpeg :]


async def until_kind(stream: AsyncIterator[Received], kind: str, timeout_s: float = 60) -> Received:
    """The next message of this kind."""
    async with asyncio.timeout(timeout_s):
        async for each in stream:
            if each.tree["kind"] == kind:
                return each
    raise AssertionError(f"the stream ended before {kind}")
