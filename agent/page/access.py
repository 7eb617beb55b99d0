"""Who may come in, and how much of us he gets. Everything outside the routes is decided here, in this order:

1. rate, of one sender and of all: beyond it a request waits a second and is turned away, so that a flood
   costs the agent nothing, and one address that floods leaves room for others.
2. method and size: GET, HEAD and small POSTs.
3. the Host header: a name that is not ours is a page elsewhere that had its name point at us (DNS rebinding).
4. where the request comes from: another site's page may neither read nor start anything here.
5. a session or the token, on loopback, too: whoever may use this machine may not therefore see its customers.

Every answer carries the headers that keep it out of caches, frames and other sites' hands.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.core.rate import Senders, TokenBucket
from agent.page.login import SessionStore
from agent.page.login_throttle import peer_of
from agent.texts import Text, every_line

log = logging.getLogger(__name__)

BODY_MAX_BYTES, HEADERS_MAX_BYTES = 1_024, 16_384
RATE_PER_S, BURST = 60.0, 180
SENDER_PER_MINUTE, SENDER_BURST = (
    2_400,
    120,
)  # somebody who is logged in counts by himself, not by his address
FLOOD_PAUSE_S = 1.0
LOCALHOST = frozenset({"localhost"})
OPEN_PATHS = ("/login", "/login.js", "/page.css", "/favicon.ico")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class AccessMiddleware:
    """ASGI: stands before the routes."""

    def __init__(
        self, inside: ASGIApp, keys: SessionStore, names: frozenset[str], *, now_s: Callable[[], float]
    ) -> None:
        """``names``: ours, lower case."""
        self._inside = inside
        self._names = names
        self._keys = keys
        self._now_s = now_s
        self._rate = TokenBucket(RATE_PER_S, BURST, now_s())
        self._senders = Senders(SENDER_PER_MINUTE, SENDER_BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = False

        async def guarded(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                own = {name.lower() for name, _ in message["headers"]}
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in extra if pair[0] not in own)]
            await send(message)

        try:
            refusal = await self._refusal(scope)
            await (refusal or self._inside)(scope, receive, guarded)
        except ClientDisconnect:
            return  # nobody reads it
        except Exception:
            log.exception("bug_in_page")
            if not began:
                sorry = words(500, Text("page.internal_error"))
                await sorry(scope, receive, guarded)

    async def _refusal(self, scope: Scope) -> Response | None:
        if not self._is_in_time(Request(scope)):
            await asyncio.sleep(FLOOD_PAUSE_S)
            return words(429, Text("page.too_many_requests"))
        headers = Headers(scope=scope)
        return (
            _shape(scope, headers) or _origin(scope, headers, self._names) or self._stranger(scope, headers)
        )

    def _is_in_time(self, request: Request) -> bool:
        session, now_s = self._keys.session(request), self._now_s()
        sender = peer_of(request) if session is None else f"session {id(session)}"
        return self._senders.take(sender, now_s) and self._rate.take(now_s)

    def _stranger(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["path"] in OPEN_PATHS or self._keys.knows(Request(scope)):
            return None
        if scope["path"] == "/" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        refused = words(401, Text("page.log_in_first"))
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused


def words(status: int, text: Text) -> Response:
    """An answer in every language; a refused connection is not kept."""
    headers = {"Connection": "close"} if status in {408, 413, 429, 431, 503} else {}
    return PlainTextResponse(every_line(text), status, headers)


def _shape(scope: Scope, headers: Headers) -> Response | None:
    if scope["method"] not in {"GET", "HEAD", "POST"}:
        return words(405, Text("page.method_refused"))
    if sum(len(name) + len(value) for name, value in headers.raw) > HEADERS_MAX_BYTES:
        return words(431, Text("page.too_many_headers"))
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length) > BODY_MAX_BYTES:
        return words(413, Text("page.request_too_large", body_max_bytes=BODY_MAX_BYTES))
    return None


def _origin(scope: Scope, headers: Headers, names: frozenset[str]) -> Response | None:
    host = headers.get("host", "")
    if len(headers.getlist("host")) != 1 or not is_ours(host, names):
        return words(
            421,
            Text("page.host_refused"),
        )
    navigates = scope["method"] == "GET" and scope["path"] in {"/", "/login"}
    site = headers.get("sec-fetch-site", "none")
    foreign = site not in {"same-origin", "none"} and not navigates
    origin = headers.get("origin")
    if foreign or (origin is not None and origin.partition("://")[2] != host):
        return words(403, Text("page.foreign_origin"))
    return None


def own_names() -> frozenset[str]:
    """What this machine is called on its network."""
    name = socket.gethostname().lower()
    return LOCALHOST | ({name, f"{name.partition('.')[0]}.local"} if name else set())


def is_ours(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header is an address, or one of our names.

    Any port: a tunnel ends at another one. An address cannot be rebound, only a name can.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
