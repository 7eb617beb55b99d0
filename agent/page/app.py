"""The page's routes. The composition root supplies the data as plain values."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from agent.page.access import LOCALHOST, AccessMiddleware, text_response
from agent.page.doctor_job import DoctorJob
from agent.page.documentation import section
from agent.page.login import SessionStore
from agent.page.page_texts import document, fill
from agent.page.preview import Preview, Stream
from agent.resources import data
from agent.texts import Text, best_locale

FRESH_S = 0.5
STATIC = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css", "/login.js": "login.js"}
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sources:
    """The data of the page. ``preview`` None: switched off. ``metrics``: the text of a status document."""

    status: Callable[[], Mapping[str, Any]]
    doctor: DoctorJob
    preview: Preview | None
    metrics: Callable[[Mapping[str, Any]], bytes]


class CachedResponse:
    """A response that is made on request, at most twice a second, for any number of clients."""

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
    """The handlers of the routes."""

    def __init__(self, sources: Sources, sessions: SessionStore, now_s: Callable[[], float]) -> None:
        self._sources = sources
        self._sessions = sessions
        self._status = CachedResponse(self._document, now_s)
        self._metrics = CachedResponse(lambda: sources.metrics(sources.status()), now_s)
        self._texts = json.dumps(document(), ensure_ascii=False).encode()
        for name in STATIC.values():  # at start: a slow disk must not block the loop later
            _bytes(name)
        self._login = _login_form(has_token=sessions.has_token)

    async def texts(self, _request: Request) -> Response:
        return Response(self._texts, media_type="application/json")

    async def status(self, _request: Request) -> Response:
        return Response(self._status.get(), media_type="application/json")

    async def metrics(self, _request: Request) -> Response:
        return Response(self._metrics.get(), media_type=_METRICS)

    async def preview(self, request: Request) -> Response:
        preview = self._sources.preview
        if preview is None:
            return text_response(403, Text("page.preview_off"))
        if preview.is_full:
            return text_response(503, Text("page.preview_busy"))
        session = self._sessions.session(request)
        if session is None:  # a program with the token
            return Stream(preview)
        return Stream(preview, session.ended, self._sessions.left_s(session))

    async def preview_facts(self, _request: Request) -> Response:
        """The facts of the newest picture; ``facts`` is null without one. Starts no preview."""
        preview = self._sources.preview
        facts = preview.facts if preview else None
        return JSONResponse({"facts": facts, "paused": preview.paused if preview else ""})

    async def doctor(self, request: Request) -> Response:
        if request.method == "POST":
            if "x-facepay" not in request.headers:  # a foreign form cannot send this header
                return text_response(403, Text("page.header_missing"))
            self._sources.doctor.start()
        return JSONResponse(self._sources.doctor.document())

    async def documentation(self, request: Request) -> Response:
        accepted = re.split("[,;]", request.headers.get("accept-language", ""))[0]
        wanted = request.query_params.get("lang") or accepted
        document = section(**request.path_params, locale=best_locale(wanted))
        if document is None:
            return text_response(404, Text("page.no_documentation"))
        return Response(document, media_type=_KINDS["html"])

    async def login(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(self._login, media_type=_KINDS["html"])
        try:
            response = await self._sessions.log_in(request)
        except TimeoutError:
            return text_response(408, Text("page.too_slow"))
        if isinstance(response, Response):
            return response
        form = self._login.replace(b" hidden", b"")  # shows the text for a failed login
        return Response(form, 401, media_type=_KINDS["html"])

    async def logout(self, request: Request) -> Response:
        return await self._sessions.log_out(request)

    def _document(self) -> bytes:
        preview = self._sources.preview
        page = {
            "preview": preview is not None,
            "viewers": preview.viewers if preview else 0,
            "paused": preview.paused if preview else "",
        }
        return json.dumps({**self._sources.status(), "page": page}, ensure_ascii=False).encode()


def application(
    sources: Sources,
    sessions: SessionStore,
    *,
    names: frozenset[str] = LOCALHOST,
    now_s: Callable[[], float] = time.monotonic,
) -> ASGIApp:
    """The page with its access middleware. ``names``: the allowed host names, in addition to any address."""
    handlers = Handlers(sources, sessions, now_s)
    routes = [
        *(Route(path, partial(static, name)) for path, name in STATIC.items()),
        Route("/favicon.ico", no_icon),
        Route("/texts.json", handlers.texts),
        Route("/status.json", handlers.status),
        Route("/metrics", handlers.metrics),
        Route("/preview.mjpg", handlers.preview),
        Route("/preview.json", handlers.preview_facts),
        Route("/doctor.json", handlers.doctor, methods=["GET", "POST"]),
        Route("/docs/reference/{page}/{anchor}", handlers.documentation),
        Route("/login", handlers.login, methods=["GET", "POST"]),
        Route("/logout", handlers.logout, methods=["POST"]),
    ]
    return AccessMiddleware(Starlette(routes=routes), sessions, names, now_s=now_s)


@cache
def _bytes(name: str) -> bytes:
    raw = data(f"page/{name}").read_bytes()
    return fill(raw.decode()).encode() if name.endswith(".html") else raw


def _login_form(*, has_token: bool) -> bytes:
    """The login page; without a token there is no field for one."""
    form = _bytes("login.html").decode()
    unfit = "if-no-token" if has_token else "if-token"
    form = re.sub(rf"<!-- {unfit} -->.*?<!-- end -->\n", "", form, flags=re.DOTALL)
    return re.sub(r"<!-- .*? -->\n", "", form).encode()


async def no_icon(_request: Request) -> Response:
    """Every browser requests an icon."""
    return Response(status_code=204)


async def static(name: str, _request: Request) -> Response:
    """A file of the page."""
    return Response(_bytes(name), media_type=_KINDS[name.rpartition(".")[2]])
