"""The token: given once in a form (or as a bearer header by a program), then a session in a cookie.

The token is in no URL, cookie, log or answer. A session is a random number that only this process knows, and
ends with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from agent.errors import ConfigError
from agent.log import facts

log = logging.getLogger(__name__)

COOKIE = "facepay_page"
TOKEN_MIN, TOKEN_MAX = 16, 256
SESSION_S = 8 * 3_600
SESSIONS_MAX = 16
WRONG_PAUSE_S = 0.5  # a wrong token costs its sender that long; a right one nothing
BODY_TIMEOUT_S = 3.0


def read_token(path: Path) -> bytes:
    """The token in a file, without the newline at its end. Raises ``ConfigError``."""
    fix = "Make one: head -c 24 /dev/urandom | base64"
    fix_zh = "请生成一个：head -c 24 /dev/urandom | base64"
    try:
        token = path.read_bytes()[: TOKEN_MAX + 2].strip()
    except OSError as error:
        raise ConfigError(
            f"page.token_file: {path}: {error.strerror}", code="page_unavailable", fix=fix, fix_zh=fix_zh
        ) from error
    if not TOKEN_MIN <= len(token) <= TOKEN_MAX:
        raise ConfigError(
            f"page.token_file: {path}: needs {TOKEN_MIN} to {TOKEN_MAX} bytes",
            code="page_unavailable",
            fix=fix,
            fix_zh=fix_zh,
        )
    return token


class Keys:
    """Who is known here."""

    def __init__(self, token: bytes, *, secure: bool, now_s: Callable[[], float]) -> None:
        """``secure``: over TLS, so the cookie never travels without it."""
        self._token = hashlib.sha256(token).digest()
        self._secure = secure
        self._now_s = now_s
        self._sessions: dict[bytes, float] = {}  # digest -> end, oldest first

    def knows(self, request: Request) -> bool:
        """By session, or by the token as ``Authorization: Bearer``."""
        session = request.cookies.get(COOKIE, "")
        if session and self._sessions.get(_digest(session), 0.0) > self._now_s():
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        return self._is_token(token.strip()) or _told("page_token_wrong", request)

    async def log_in(self, request: Request) -> bool | Response:
        """POST of the login form: the way in, or False for a wrong token."""
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.body()
        given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=4).get("token", [""])[0]
        if not self._is_token(given.strip()):
            _told("page_token_wrong", request)
            await asyncio.sleep(WRONG_PAUSE_S)
            return False
        _told("page_login", request)
        session = secrets.token_urlsafe(32)
        self._remember(session)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, session, max_age=SESSION_S, httponly=True, samesite="strict", secure=self._secure
        )
        return answer

    def log_out(self, request: Request) -> Response:
        self._sessions.pop(_digest(request.cookies.get(COOKIE, "")), None)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=self._secure)
        return answer

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(_digest(given), self._token)

    def _remember(self, session: str) -> None:
        now_s = self._now_s()
        kept = [(digest, end_s) for digest, end_s in self._sessions.items() if end_s > now_s]
        self._sessions = dict(kept[-(SESSIONS_MAX - 1) :])
        self._sessions[_digest(session)] = now_s + SESSION_S


def _told(event: str, request: Request) -> bool:
    """Into the log, with the address it came from: who guesses is seen, and so is who was let in. False."""
    log.warning(event, extra=facts(peer=request.client.host if request.client else "?"))
    return False


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
