"""ASGI middleware of the page: rate limits, request size, Host and Origin checks, authentication.

The checks run in this order:

1. rate, per sender and in total. A request above the limit waits a second and is refused: a flood costs the
   agent little, and a flood from one address leaves capacity for others.
2. method and size: GET, HEAD and small POSTs.
3. the Host header. A foreign name is the name of another site that resolves to this machine (DNS rebinding).
4. the origin: another site's page can neither read nor start anything here.
5. a session or the token, also on loopback: a local user may not see the customers without permission.

Every response has the headers against caches, frames and other sites.
"""

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

from agent.core.rate import SenderBuckets, TokenBucket
from agent.page.login import SessionStore, peer_of
from agent.texts import Text, locales, on_separate_lines

log = logging.getLogger(__name__)

BODY_MAX_BYTES, HEADERS_MAX_BYTES = 1_024, 16_384
RATE_PER_S, BURST = 60.0, 180
SENDER_PER_MINUTE, SENDER_BURST = 2_400, 120  # a sender is a session, or an address without a session
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
    """Checks each request before the routes; adds the headers to each response."""

    def __init__(
        self,
        app: ASGIApp,
        sessions: SessionStore | None,
        names: frozenset[str],
        *,
        now_s: Callable[[], float],
    ) -> None:
        """``names``: the host names of this machine, lower case. ``sessions`` None: a route checks a key."""
        self._app = app
        self._names = names
        self._sessions = sessions
        self._now_s = now_s
        self._rate = TokenBucket(RATE_PER_S, BURST, now_s())
        self._senders = SenderBuckets(SENDER_PER_MINUTE, SENDER_BURST)

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
            await (refusal or self._app)(scope, receive, guarded)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("page_internal_error")
            if not began:
                await text_response(500, Text("page.internal_error"))(scope, receive, guarded)

    async def _refusal(self, scope: Scope) -> Response | None:
        request, now_s = Request(scope), self._now_s()
        session = None if self._sessions is None else self._sessions.session(request)
        sender = peer_of(request) if session is None else f"session {id(session)}"
        if not (self._senders.take(sender, now_s) and self._rate.take(now_s)):
            await asyncio.sleep(FLOOD_PAUSE_S)
            return text_response(429, Text("page.too_many_requests"))
        headers = Headers(scope=scope)
        refusal = _check_size(scope, headers) or _check_origin(scope, headers, self._names)
        return refusal or self._check_login(scope, headers)

    def _check_login(self, scope: Scope, headers: Headers) -> Response | None:
        if self._sessions is None or scope["path"] in OPEN_PATHS or self._sessions.accepts(Request(scope)):
            return None
        if scope["path"] == "/" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        refusal = text_response(401, Text("page.log_in_first"))
        refusal.headers["WWW-Authenticate"] = "Bearer"
        return refusal


def text_response(status: int, text: Text) -> Response:
    """A plain text in every language; a refusal closes the connection."""
    headers = {"Connection": "close"} if status in {408, 413, 429, 431, 503} else {}
    return PlainTextResponse(on_separate_lines(text, locales()), status, headers)


def _check_size(scope: Scope, headers: Headers) -> Response | None:
    if scope["method"] not in {"GET", "HEAD", "POST"}:
        return text_response(405, Text("page.method_refused"))
    if sum(len(name) + len(value) for name, value in headers.raw) > HEADERS_MAX_BYTES:
        return text_response(431, Text("page.too_many_headers"))
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length) > BODY_MAX_BYTES:
        return text_response(413, Text("page.request_too_large", body_max_bytes=BODY_MAX_BYTES))
    return None


def _check_origin(scope: Scope, headers: Headers, names: frozenset[str]) -> Response | None:
    host = headers.get("host", "")
    if len(headers.getlist("host")) != 1 or not is_own_host(host, names):
        return text_response(421, Text("page.host_refused"))
    navigates = scope["method"] == "GET" and scope["path"] in {"/", "/login"}
    site = headers.get("sec-fetch-site", "none")
    foreign = site not in {"same-origin", "none"} and not navigates
    origin = headers.get("origin")
    if foreign or (origin is not None and origin.partition("://")[2] != host):
        return text_response(403, Text("page.foreign_origin"))
    return None


def own_names() -> frozenset[str]:
    """The host names of this machine on its network."""
    name = socket.gethostname().lower()
    return LOCALHOST | ({name, f"{name.partition('.')[0]}.local"} if name else set())


def is_own_host(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header is an IP address or one of ``names``.

    The port may differ, because a tunnel may use another port. DNS rebinding needs a name, not an address.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name in names or bool(ip_address(name))
    except ValueError:
        return False
