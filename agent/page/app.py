"""The page's routes. Whatever they show, the composition root hands over as plain values."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from agent.page.access import LOCALHOST, AccessMiddleware, words
from agent.page.doctor_job import DoctorJob
from agent.page.login import SessionStore
from agent.page.page_texts import document, fill
from agent.page.preview import Preview, Stream
from agent.resources import data
from agent.texts import Text

FRESH_S = 0.5
FILES = ("index.html", "login.html", "login.js", "page.css", "page.js")
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sources:
    """What the page shows. ``preview`` None: switched off. ``metrics`` None: there are none."""

    status: Callable[[], Mapping[str, Any]]
    examination: DoctorJob
    preview: Preview | None = None
    metrics: Callable[[Mapping[str, Any]], bytes] | None = None


class CachedResponse:
    """What is made on request, at most twice a second, however many ask."""

    def __init__(self, make: Callable[[], bytes], now_s: Callable[[], float]) -> None:
        self._make = make
        self._now_s = now_s
        self._made, self._made_s = b"", float("-inf")

    def get(self) -> bytes:
        now_s = self._now_s()
        if now_s - self._made_s >= FRESH_S:
            self._made, self._made_s = self._make(), now_s
        return self._made


class Handlers:
    """The answers."""

    def __init__(self, sources: Sources, keys: SessionStore, now_s: Callable[[], float]) -> None:
        self._sources = sources
        self._keys = keys
        self._status = CachedResponse(self._document, now_s)
        self._metrics = CachedResponse(self._exposition, now_s)
        self._texts = json.dumps(document(), ensure_ascii=False).encode()
        for name in FILES:  # at start: a slow disk must not block the loop later
            _bytes(name)

    async def index(self, _request: Request) -> Response:
        return _file("index.html")

    async def script(self, _request: Request) -> Response:
        return _file("page.js")

    async def login_script(self, _request: Request) -> Response:
        return _file("login.js")

    async def style(self, _request: Request) -> Response:
        return _file("page.css")

    async def icon(self, _request: Request) -> Response:
        return Response(status_code=204)  # every browser asks

    async def texts(self, _request: Request) -> Response:
        return Response(self._texts, media_type="application/json")

    async def status(self, _request: Request) -> Response:
        return Response(self._status.get(), media_type="application/json")

    async def metrics(self, _request: Request) -> Response:
        if self._sources.metrics is None:
            return words(404, Text("page.no_metrics"))
        return Response(self._metrics.get(), media_type=_METRICS)

    async def preview(self, request: Request) -> Response:
        preview = self._sources.preview
        if preview is None:
            return words(403, Text("page.preview_off"))
        if preview.is_full:
            return words(
                503,
                Text("page.preview_busy"),
            )
        session = self._keys.session(request)
        if session is None:  # a program with the token
            return Stream(preview)
        return Stream(preview, session.over, self._keys.left_s(session))

    async def doctor(self, request: Request) -> Response:
        if request.method == "POST":
            if "x-facepay" not in request.headers:  # a header no foreign form can send
                return words(403, Text("page.header_missing"))
            self._sources.examination.start()
        return JSONResponse(self._sources.examination.document())

    async def login(self, request: Request) -> Response:
        if request.method != "POST":
            return _file("login.html")
        try:
            entered = await self._keys.log_in(request)
        except TimeoutError:
            return words(408, Text("page.too_slow"))
        return entered if isinstance(entered, Response) else _login_again()

    async def logout(self, request: Request) -> Response:
        return self._keys.log_out(request)

    def _document(self) -> bytes:
        return json.dumps({**self._sources.status(), "page": self._page()}, ensure_ascii=False).encode()

    def _exposition(self) -> bytes:
        render = self._sources.metrics
        return b"" if render is None else render(self._sources.status())

    def _page(self) -> dict[str, Any]:
        preview = self._sources.preview
        return {
            "preview": preview is not None,
            "viewers": preview.viewers if preview else 0,
            "paused": preview.paused if preview else "",
        }


def application(
    sources: Sources,
    keys: SessionStore,
    *,
    names: frozenset[str] = LOCALHOST,
    now_s: Callable[[], float] = time.monotonic,
) -> ASGIApp:
    """The whole page behind its door. ``names``: by which it may be called, beside any address."""
    pages = Handlers(sources, keys, now_s)
    routes = [
        Route("/", pages.index),
        Route("/page.js", pages.script),
        Route("/page.css", pages.style),
        Route("/favicon.ico", pages.icon),
        Route("/texts.json", pages.texts),
        Route("/status.json", pages.status),
        Route("/metrics", pages.metrics),
        Route("/preview.mjpg", pages.preview),
        Route("/doctor.json", pages.doctor, methods=["GET", "POST"]),
        Route("/login.js", pages.login_script),
        Route("/login", pages.login, methods=["GET", "POST"]),
        Route("/logout", pages.logout, methods=["POST"]),
    ]
    return AccessMiddleware(Starlette(routes=routes), keys, names, now_s=now_s)


@cache
def _bytes(name: str) -> bytes:
    raw = data(f"page/{name}").read_bytes()
    return fill(raw.decode()).encode() if name.endswith(".html") else raw


def _file(name: str, status: int = 200) -> Response:
    return Response(_bytes(name), status, media_type=_KINDS[name.rpartition(".")[2]])


def _login_again() -> Response:
    """The form, with the words for whoever was not let in."""
    return Response(_bytes("login.html").replace(b" hidden", b""), 401, media_type=_KINDS["html"])
