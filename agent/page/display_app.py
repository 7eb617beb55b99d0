"""The routes of the payer's screen: one page, its script and style sheet, and one stream for one viewer.

The stream carries messages until the viewer disconnects. A message is two lengths (4 bytes each, big-endian),
then JSON, then a JPEG or no byte. All texts are in the JSON, in one language: the page holds none. So the
screen and its picture change together, and a message without a picture state removes the picture.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.core.payer_screen import Ended, Guiding, Idle, Screen
from agent.core.reasons import Guidance
from agent.page.access import LOCALHOST, AccessMiddleware, text_response
from agent.page.app import no_icon, static
from agent.page.display_key import DisplayKey
from agent.page.payer_display import PayerDisplay, Shown
from agent.page.preview import until_first, wait_for_disconnect
from agent.texts import Text, best_locale, first_text, locales

log = logging.getLogger(__name__)

SLOW_S = 2.0  # a viewer that reads no message for this long is disconnected: the screen stands still
STATIC = {"/": "display.html", "/display.js": "display.js", "/display.css": "display.css"}


@dataclass(frozen=True, slots=True)
class DisplayOptions:
    """``locale``: an installed language, while idle and for a request without a locale."""

    shop_name: str
    locale: str
    sound: bool


def screen_facts(screen: Screen, options: DisplayOptions, now_ms: int) -> dict[str, Any]:
    """The screen as plain values for JSON.

    ``kind``: ``idle``, ``guide`` or ``end``. ``title``: the name of the shop. ``symbol``: a code of a hint or
    an ending. ``words``: beside the symbol, always set; one or two lines. ``left_ms`` and ``total_ms``: of
    the verification.
    """
    locale, more = options.locale, dict[str, Any]()
    if not isinstance(screen, Idle) and screen.locale is not None:
        locale = best_locale(screen.locale)
    match screen:
        case Idle():
            words, more = Text("display.privacy"), {"kind": "idle"}
        case Guiding():
            words = hint_words(screen.hint)
            more = {
                "kind": "guide",
                "symbol": screen.hint,
                "verification": str(screen.began_ms),
                "left_ms": max(0, screen.until_ms - now_ms),
                "total_ms": screen.until_ms - screen.began_ms,
            }
        case Ended():
            words, more = Text(f"display.{screen.ending}"), {"kind": "end", "symbol": screen.ending}
        case _:
            assert_never(screen)
    facts = {"title": options.shop_name, "locale": locale, "words": words.write(locale)}
    return more | facts | {"sound": options.sound}


def hint_words(hint: Guidance) -> Text:
    """The short text of a hint, for a screen that is read at 1.5 m; the till's text where there is none."""
    return first_text(f"display.{hint}", f"guidance.{hint}")


def pack(tree: dict[str, Any], picture: bytes | None) -> bytes:
    """One message of the stream."""
    text, jpeg = json.dumps(tree, ensure_ascii=False).encode(), picture or b""
    return len(text).to_bytes(4, "big") + len(jpeg).to_bytes(4, "big") + text + jpeg


class ScreenStream(Response):
    """The connection of the viewer."""

    def __init__(self, display: PayerDisplay, message: Callable[[Shown], bytes]) -> None:
        super().__init__()
        self._display, self._message = display, message

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/octet-stream"), (b"connection", b"close")]
        start: Message = {"type": "http.response.start", "status": 200, "headers": headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        with self._display.viewer():  # before the first await: the route has just checked for a free place
            log.info("display_connected")
            try:
                await send(start)
                await self._show(receive, send)
            finally:
                log.info("display_disconnected")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLOW_S):
                await send({"type": "http.response.body", "body": b""})

    async def _show(self, receive: Receive, send: Send) -> None:
        """Send messages until the viewer disconnects or is too slow."""
        await until_first(self._send(send), wait_for_disconnect(receive))

    async def _send(self, send: Send) -> None:
        async with contextlib.aclosing(self._display.messages()) as messages:
            async for shown in messages:
                body = self._message(shown)
                try:
                    async with asyncio.timeout(SLOW_S):
                        await send({"type": "http.response.body", "body": body, "more_body": True})
                except TimeoutError:
                    log.warning("display_slow_viewer_dropped")
                    return


def display_application(
    display: PayerDisplay,
    key: DisplayKey,
    options: DisplayOptions,
    *,
    now_ms: Callable[[], int],
) -> ASGIApp:
    """The page with its access middleware. Only the stream needs the key: the page holds no data."""

    def message(shown: Shown) -> bytes:
        return pack(screen_facts(shown.screen, options, now_ms()), shown.picture)

    async def stream(request: Request) -> Response:
        if not key.opens(request.headers.get("authorization", "")):
            return text_response(401, Text("display.no_key"))
        if display.viewers:
            words = [Text("display.in_use").write(locale) for locale in locales()]
            busy = {"kind": "busy", "words": " ".join(words), "locale": options.locale}
            return Response(pack(busy, None), media_type="application/octet-stream")
        return ScreenStream(display, message)

    routes = [
        *(Route(path, partial(static, name)) for path, name in STATIC.items()),
        Route("/favicon.ico", no_icon),
        Route("/stream", stream),
    ]
    return AccessMiddleware(Starlette(routes=routes), None, LOCALHOST, now_s=time.monotonic)
