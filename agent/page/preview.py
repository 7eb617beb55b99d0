"""The live picture: one maker, few viewers, nothing made while nobody looks.

Rules:
1. The picture is made only while somebody has it open, and ``state`` says so before the first one is made.
2. While a payer is served every viewer sees a notice instead; what was on his screen before is replaced.
3. Each viewer gets the newest picture, never a queue of them. One who does not take a picture within seconds
   is dropped; so is everybody after ten minutes, and whose session ends: a forgotten tab must not watch a
   shop. The last thing he is sent is a notice, so that no picture stays on his screen.
4. Pictures exist in memory only, one at a time, and the last one goes when the last viewer does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from agent.errors import AgentError, CameraReserved
from agent.log import facts

log = logging.getLogger(__name__)

VIEWERS_MAX = 2  # a browser opens six connections per host: its tabs need the others
RATE_MAX = 12.0  # pictures per second
SLOW_S = 3.0
OPEN_MAX_S = 600.0
NOTICE_EVERY_S = 0.5
LINGER_S = 1.0  # between a reload's two connections the preview stays announced
_BOUNDARY = b"--picture\r\n"


@dataclass(frozen=True, slots=True)
class Seeing:
    """What the composition root lends."""

    picture: Callable[[], Awaitable[bytes]]  # the next annotated JPEG; raises AgentError
    notice: Callable[[str], bytes]  # a JPEG with words and nobody in it
    tell: Callable[[bool], Awaitable[None]]  # the preview is open, or closed again; returns when that is out


class Preview:
    """Makes pictures while there are viewers."""

    def __init__(self, seeing: Seeing) -> None:
        self._seeing = seeing
        self._maker: asyncio.Task[None] | None = None
        self._newest: bytes | None = None
        self._changed = asyncio.Event()
        self.viewers = 0
        self.paused = ""  # why no picture is shown; empty while one is

    @property
    def is_full(self) -> bool:
        return self.viewers >= VIEWERS_MAX

    @property
    def ended(self) -> bytes:
        """What stays on a viewer's screen."""
        return self._seeing.notice("the preview has ended")

    async def close(self) -> None:
        if self._maker is not None:
            self._maker.cancel()
            await asyncio.gather(self._maker, return_exceptions=True)

    @contextlib.contextmanager
    def seat(self) -> Iterator[None]:
        """A viewer, from the moment he is let in: none is let in that is not counted."""
        self.viewers += 1
        if self._maker is None:
            self._maker = asyncio.create_task(self._make(), name="preview")
        try:
            yield
        finally:
            self.viewers -= 1
            if not self.viewers:
                self._newest = None

    async def pictures(self) -> AsyncGenerator[bytes]:
        """Every newest picture, for whoever has a seat."""
        seen: bytes | None = None
        while self._maker is not None:
            newest = self._newest
            if newest is None or newest is seen:
                await self._changed.wait()
                continue
            seen = newest
            yield newest

    async def _make(self) -> None:
        log.warning("preview_opened")
        try:
            await self._seeing.tell(True)
            while await self._is_watched():
                began_s = asyncio.get_running_loop().time()
                pause_s = await self._next()
                spent_s = asyncio.get_running_loop().time() - began_s
                await asyncio.sleep(max(0.0, pause_s - spent_s))
        except Exception:
            log.exception("bug_in_preview")
        finally:
            self._newest, self._maker = None, None
            self._show(None)
            log.warning("preview_closed")
            await self._seeing.tell(False)

    async def _is_watched(self) -> bool:
        """True at once while somebody looks; False when nobody came back within a second."""
        if self.viewers:
            return True
        await asyncio.sleep(LINGER_S)
        return self.viewers > 0

    async def _next(self) -> float:
        """Show one picture, or why there is none; returns after how long the next may follow."""
        try:
            self._show(await self._seeing.picture())
            self.paused = ""
        except CameraReserved as error:
            self._pause(error.code, "paused: a customer is served")
            return NOTICE_EVERY_S
        except AgentError as error:
            if self.paused != error.code:
                log.info("preview_without_picture", extra=facts(code=error.code, why=error))
            self._pause(error.code, f"no picture: {error.code}")
            return NOTICE_EVERY_S
        return 1.0 / RATE_MAX

    def _pause(self, code: str, text: str) -> None:
        self.paused = code
        self._show(self._seeing.notice(text))

    def _show(self, picture: bytes | None) -> None:
        self._newest = picture if self.viewers else None
        self._changed.set()
        self._changed = asyncio.Event()


class Stream(Response):
    """One viewer's connection: multipart/x-mixed-replace, which every browser shows in an <img>."""

    def __init__(
        self, preview: Preview, over: asyncio.Event | None = None, left_s: float = float("inf")
    ) -> None:
        """``over``: set when the viewer is no longer known here, at the latest in ``left_s``."""
        super().__init__()
        self._preview = preview
        self._over = over or asyncio.Event()
        self._left_s = left_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = b"multipart/x-mixed-replace; boundary=picture"
        headers = [(b"content-type", kind), (b"connection", b"close")]
        start: Message = {"type": "http.response.start", "status": 200, "headers": headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        with self._preview.seat():  # before anything is awaited: the route has just seen that one is free
            await send(start)
            await self._show(receive, send)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLOW_S):
                body = _part(self._preview.ended) + b"--picture--\r\n"
                await send({"type": "http.response.body", "body": body})

    async def _show(self, receive: Receive, send: Send) -> None:
        """Until the viewer leaves, is too slow, is no longer known, or his time is over."""
        tasks = [
            asyncio.create_task(self._send(send), name="viewer"),
            asyncio.create_task(_gone(receive), name="viewer gone"),
            asyncio.create_task(self._over.wait(), name="viewer's session"),
        ]
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=min(OPEN_MAX_S, self._left_s), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()  # a bug is not a viewer who left

    async def _send(self, send: Send) -> None:
        async with contextlib.aclosing(self._preview.pictures()) as pictures:
            async for picture in pictures:
                message: Message = {
                    "type": "http.response.body",
                    "body": _part(picture),
                    "more_body": True,
                }
                try:
                    async with asyncio.timeout(SLOW_S):
                        await send(message)
                except TimeoutError:
                    log.info("slow_viewer_dropped")
                    return


def _part(picture: bytes) -> bytes:
    length = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
    return _BOUNDARY + length + picture + b"\r\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
