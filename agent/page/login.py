"""Who is let in: by a one-time link, by the token, then by a session in a cookie.

Neither token nor link is in an address that reaches us, in a cookie, log or answer. A session is a random
number that only this process knows, and ends with it; what hangs on one (a live picture) ends with it, too.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from agent.errors import ConfigError
from agent.log import facts
from agent.page.login_throttle import LoginThrottle, peer_of
from agent.texts import Text

log = logging.getLogger(__name__)

TOKEN_MIN, TOKEN_MAX = 16, 256
SESSION_S = 8 * 3_600
SESSIONS_MAX = 16
PASS_S = 120.0  # long enough to walk from a terminal's shell to a browser
PASSES_MAX = 8
WRONG_PAUSE_S = 0.5  # a wrong token costs its sender that long; a right one nothing
BODY_TIMEOUT_S = 3.0


def read_token(path: Path) -> bytes:
    """The token in a file, without the newline at its end. Raises ``ConfigError``."""
    fix = Text("fix.page_token_missing")
    try:
        token = path.read_bytes()[: TOKEN_MAX + 2].strip()
    except OSError as error:
        raise ConfigError(
            f"page.token_file: {path}: {error.strerror}", code="page_unavailable", fix=fix
        ) from error
    if not TOKEN_MIN <= len(token) <= TOKEN_MAX:
        raise ConfigError(
            f"page.token_file: {path}: needs {TOKEN_MIN} to {TOKEN_MAX} bytes",
            code="page_unavailable",
            fix=fix,
        )
    return token


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """Somebody who was let in. ``over`` is set when he leaves, or has to make room."""

    ends_s: float
    over: asyncio.Event = field(default_factory=asyncio.Event)


class SessionStore:
    """Who is known here."""

    def __init__(self, token: bytes | None, *, secure: bool, now_s: Callable[[], float]) -> None:
        """``token`` None: links alone let in. ``secure``: over TLS; the cookie never travels without."""
        self._token = None if token is None else hashlib.sha256(token).digest()
        self._secure = secure
        # browsers tell no ports apart: two terminals through two tunnels would log each other out
        self.cookie = f"facepay_page_{secrets.token_hex(4)}"
        self._now_s = now_s
        self._guesses = LoginThrottle(now_s)
        self._sessions: dict[bytes, Session] = {}  # by digest, oldest first
        self._passes: dict[bytes, float] = {}  # digest -> end, oldest first

    def new_pass(self) -> str:
        """Opens a session once, within ``PASS_S``. For whoever may reach the agent's local socket."""
        made = secrets.token_urlsafe(32)
        self._passes = dict(list(self._passes.items())[-(PASSES_MAX - 1) :])
        self._passes[_digest(made)] = self._now_s() + PASS_S
        return made

    def session(self, request: Request) -> Session | None:
        """The one this request belongs to; None for a stranger, and for a program that sends the token."""
        name = request.cookies.get(self.cookie, "")
        session = self._sessions.get(_digest(name)) if name else None
        return session if session is not None and session.ends_s > self._now_s() else None

    def left_s(self, session: Session) -> float:
        return session.ends_s - self._now_s()

    def knows(self, request: Request) -> bool:
        """By session, or by the token as ``Authorization: Bearer``."""
        if self.session(request) is not None:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._may_enter(token.strip(), request)

    async def log_in(self, request: Request) -> bool | Response:
        """POST of the login form: the way in, or False for what is neither the token nor a fresh link's."""
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.body()
        given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
        by_link = self._passes.pop(_digest(given), float("-inf")) > self._now_s()
        if not by_link and not self._may_enter(given, request):
            await asyncio.sleep(WRONG_PAUSE_S)
            return False
        log.warning("page_login", extra=facts(peer=peer_of(request), by="link" if by_link else "token"))
        name = secrets.token_urlsafe(32)
        self._remember(name)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self.cookie, name, max_age=SESSION_S, httponly=True, samesite="strict", secure=self._secure
        )
        return answer

    def log_out(self, request: Request) -> Response:
        session = self._sessions.pop(_digest(request.cookies.get(self.cookie, "")), None)
        if session is not None:
            session.over.set()
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self.cookie, httponly=True, samesite="strict", secure=self._secure)
        return answer

    def _may_enter(self, given: str, request: Request) -> bool:
        """Whether this is the token; who guesses is in the log, and soon not even looked at."""
        peer = peer_of(request)
        if self._guesses.too_many(peer):
            return False
        if self._token is not None and hmac.compare_digest(_digest(given), self._token):
            return True
        self._guesses.wrong(peer)
        log.warning("page_token_wrong", extra=facts(peer=peer))
        return False

    def _remember(self, name: str) -> None:
        now_s = self._now_s()
        kept = [(digest, each) for digest, each in self._sessions.items() if each.ends_s > now_s]
        for _, ousted in kept[: max(0, len(kept) - SESSIONS_MAX + 1)]:
            ousted.over.set()
        self._sessions = dict(kept[-(SESSIONS_MAX - 1) :])
        self._sessions[_digest(name)] = Session(now_s + SESSION_S)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
