"""The live preview: one producer of pictures and few viewers.

Rules:
1. Pictures are produced only while a viewer is connected. ``state`` publishes this before the first picture.
2. During a verification every viewer gets a notice, which replaces the picture on the screen.
3. Each viewer gets the newest picture, never a queue. A viewer is disconnected if a picture is not read
   within seconds, after ten minutes, and at the end of its session: a forgotten tab must not watch a shop.
   The last part is a notice, so that no picture stays on the screen.
4. Pictures exist in memory only, one at a time; the last picture is dropped with the last viewer.
5. The facts of a picture (codes and numbers) have the same rules as the picture.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from agent.errors import AgentError, CameraReserved
from agent.log import facts
from agent.tasks import end_tasks

log = logging.getLogger(__name__)

VIEWERS_MAX = 2  # a browser opens six connections per host: its tabs need the others
RATE_MAX = 12.0  # pictures per second
SLOW_S = 3.0
OPEN_MAX_S = 600.0
NOTICE_EVERY_S = 0.5
RELOAD_WAIT_S = 1.0  # the preview stays open between the two connections of a page reload
_BOUNDARY = b"--picture\r\n"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture. ``facts``: plain values for JSON, which the page shows as text beside the picture."""

    jpeg: bytes
    facts: Mapping[str, object]


@dataclass(slots=True, eq=False)
class Preview:
    """Produces pictures while viewers are connected.

    Attributes:
        picture: returns the next picture; raises ``AgentError``.
        notice: a JPEG with a text and without a person.
        announce: publishes whether the preview is open; returns after the publication.
        paused: the code of the reason for a notice; empty while a picture is shown.
        facts: of the newest picture; None without one, e.g. during a verification.
    """

    picture: Callable[[], Awaitable[Picture]]
    notice: Callable[[str], bytes]
    announce: Callable[[bool], Awaitable[None]]
    viewers: int = 0
    paused: str = ""
    facts: Mapping[str, object] | None = None
    _producer: asyncio.Task[None] | None = None
    _newest: bytes | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_full(self) -> bool:
        return self.viewers >= VIEWERS_MAX

    @property
    def ended(self) -> bytes:
        """The notice that stays on a viewer's screen."""
        return self.notice("the preview has ended")

    async def close(self) -> None:
        await end_tasks(self._producer)

    @contextlib.contextmanager
    def viewer(self) -> Iterator[None]:
        """Count one viewer for the duration of the context; starts the producer for the first viewer."""
        self.viewers += 1
        if self._producer is None:
            self._producer = asyncio.create_task(self._produce(), name="preview")
        try:
            yield
        finally:
            self.viewers -= 1
            if not self.viewers:
                self._newest, self.facts = None, None

    async def pictures(self) -> AsyncGenerator[bytes]:
        """Each newest picture, for a viewer inside ``viewer()``."""
        seen: bytes | None = None
        while self._producer is not None:
            newest = self._newest
            if newest is None or newest is seen:
                await self._changed.wait()
                continue
            seen = newest
            yield newest

    async def _produce(self) -> None:
        log.warning("preview_opened")
        try:
            await self.announce(True)
            while await self._is_watched():
                began_s = asyncio.get_running_loop().time()
                pause_s = await self._next()
                spent_s = asyncio.get_running_loop().time() - began_s
                await asyncio.sleep(max(0.0, pause_s - spent_s))
        except Exception:
            log.exception("preview_internal_error")
        finally:
            self._newest, self._producer, self.facts = None, None, None
            self._show(None)
            log.warning("preview_closed")
            await self.announce(False)

    async def _is_watched(self) -> bool:
        """True at once with a viewer; False if no viewer connects within ``RELOAD_WAIT_S``."""
        if self.viewers:
            return True
        await asyncio.sleep(RELOAD_WAIT_S)
        return self.viewers > 0

    async def _next(self) -> float:
        """Show one picture, or a notice with the reason; return the pause before the next, in seconds."""
        try:
            picture = await self.picture()
            self._show(picture.jpeg)
            self.facts = picture.facts if self.viewers else None
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
        self.paused, self.facts = code, None
        self._show(self.notice(text))

    def _show(self, picture: bytes | None) -> None:
        self._newest = picture if self.viewers else None
        self._changed.set()
        self._changed = asyncio.Event()


class Stream(Response):
    """One viewer's connection: multipart/x-mixed-replace, which every browser displays in an <img>."""

    def __init__(
        self, preview: Preview, session_ended: asyncio.Event | None = None, left_s: float = float("inf")
    ) -> None:
        """``session_ended``: set at the end of the viewer's session, at the latest in ``left_s`` seconds."""
        super().__init__()
        self._preview = preview
        self._session_ended = session_ended or asyncio.Event()
        self._left_s = left_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = b"multipart/x-mixed-replace; boundary=picture"
        headers = [(b"content-type", kind), (b"connection", b"close")]
        start: Message = {"type": "http.response.start", "status": 200, "headers": headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        with self._preview.viewer():  # before the first await: the route has just checked for a free place
            await send(start)
            await self._show(receive, send)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLOW_S):
                body = _part(self._preview.ended) + b"--picture--\r\n"
                await send({"type": "http.response.body", "body": body})

    async def _show(self, receive: Receive, send: Send) -> None:
        """Send pictures until the viewer disconnects or is too slow, or the session or the time ends."""
        limit_s = min(OPEN_MAX_S, self._left_s)
        await until_first(
            self._send(send), wait_for_disconnect(receive), self._session_ended.wait(), limit_s=limit_s
        )

    async def _send(self, send: Send) -> None:
        async with contextlib.aclosing(self._preview.pictures()) as pictures:
            async for picture in pictures:
                message: Message = {"type": "http.response.body", "body": _part(picture), "more_body": True}
                try:
                    async with asyncio.timeout(SLOW_S):
                        await send(message)
                except TimeoutError:
                    log.info("preview_slow_viewer_dropped")
                    return


def _part(picture: bytes) -> bytes:
    length = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
    return _BOUNDARY + length + picture + b"\r\n"


async def until_first(*works: Coroutine[Any, Any, object], limit_s: float | None = None) -> None:
    """Run until one of the works or ``limit_s`` ends; cancel the others. Raises the error of that one."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_tasks(*tasks)
    for task in done:
        task.result()


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
