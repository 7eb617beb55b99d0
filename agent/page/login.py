"""Authentication of the page: a one-time link or the token opens a session, which a cookie holds.

Token and link never appear in a request's address, a cookie, a log or a response. A session is a random
number; the agent keeps only its digest, see ``session_file``. The end of a session also ends its preview.
"""

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

from agent.errors import ConfigError, WrongValueError, failure_at
from agent.log import facts
from agent.page.session_file import SavedSessions, SessionFile
from agent.safe_open import read_plain
from agent.texts import Text

log = logging.getLogger(__name__)

TOKEN_MIN, TOKEN_MAX = 16, 256
_TOKEN_FILE_MAX_BYTES = 4_096
SESSION_S = 8 * 3_600
SESSIONS_MAX = 16
LINK_VALID_S = 120.0  # enough time to go from a terminal's shell to a browser
LINKS_MAX = 8
WRONG_PAUSE_S = 0.5  # delay of the response to a wrong token
BODY_TIMEOUT_S = 3.0
WRONG_TOKENS_MAX = 10  # wrong tokens of an address within WINDOW_S; then the address is refused
WINDOW_S = 60.0
_PEERS_MAX = 256


def read_token(path: Path) -> bytes:
    """The token in a file, without the newline at its end. Raises ``ConfigError``."""
    try:
        token = read_plain(path, _TOKEN_FILE_MAX_BYTES, links=True).strip()
        if not TOKEN_MIN <= len(token) <= TOKEN_MAX:
            raise WrongValueError(Text("detail.token_length", least=TOKEN_MIN, most=TOKEN_MAX))
    except (OSError, ValueError) as error:
        why = failure_at(f"page.token_file: {path}", error)
        raise ConfigError(why, code="page_unavailable", fix=Text("fix.page_token_missing")) from error
    return token


def peer_of(request: Request) -> str:
    """The address of the request's sender."""
    return request.client.host if request.client else "?"


class LoginThrottle:
    """Wrong tokens per address, within a window that begins with the first wrong token.

    Bounded: the address with the oldest window is dropped first. One-time links do not count: links are
    random, and a link must work also while another client guesses tokens through the same tunnel.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._wrong: dict[str, tuple[float, int]] = {}  # address -> (began, count), oldest window first

    def is_blocked(self, peer: str) -> bool:
        began_s, count = self._wrong.get(peer, (0.0, 0))
        return count >= WRONG_TOKENS_MAX and self._now_s() - began_s < WINDOW_S

    def note_wrong(self, peer: str) -> None:
        now_s = self._now_s()
        began_s, count = self._wrong.get(peer, (now_s, 0))
        if now_s - began_s >= WINDOW_S:
            self._wrong.pop(peer)
            began_s, count = now_s, 0
        self._wrong[peer] = (began_s, count + 1)
        while len(self._wrong) > _PEERS_MAX:
            del self._wrong[next(iter(self._wrong))]


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """One logged-in browser. ``ended`` is set at logout, or when a newer session replaces this session."""

    ends_s: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class SessionStore:
    """The sessions, the one-time links and the check of the token.

    Attributes:
        cookie: the name of the cookie.
        has_token: a token opens a session, too.
    """

    def __init__(
        self,
        token: bytes | None,
        *,
        secure: bool,
        now_s: Callable[[], float],
        file: SessionFile | None = None,
    ) -> None:
        """Read the sessions of an earlier process. Blocks for a disk access.

        Args:
            token: None: only links open a session.
            secure: the cookie is sent over TLS only.
            now_s: the boot clock, which continues when the agent restarts.
            file: None: a restart ends the sessions.
        """
        self._token = None if token is None else hashlib.sha256(token).digest()
        self._secure = secure
        self._now_s = now_s
        self._throttle = LoginThrottle(now_s)
        self._file = file
        saved = None if file is None else file.read()
        # cookies ignore the port: with one name, two terminals behind two tunnels would share a cookie
        self.cookie = f"facepay_page_{secrets.token_hex(4)}" if saved is None else saved.cookie
        latest_s = now_s() + SESSION_S
        self._sessions = {  # by digest, oldest first
            digest: Session(end_s)
            for digest, end_s in (saved.ends_s if saved else {}).items()
            if end_s <= latest_s
        }
        self._links: dict[bytes, float] = {}  # digest -> end, oldest first

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def new_link_secret(self) -> str:
        """A secret that opens one session within ``LINK_VALID_S``; for a user of the agent's local socket."""
        secret = secrets.token_urlsafe(32)
        self._links = dict(list(self._links.items())[-(LINKS_MAX - 1) :])
        self._links[_digest(secret)] = self._now_s() + LINK_VALID_S
        return secret

    def session(self, request: Request) -> Session | None:
        """The session of a request; None without a session, also for a program that sends the token."""
        name = request.cookies.get(self.cookie, "")
        session = self._sessions.get(self._key(name)) if name else None
        return session if session is not None and session.ends_s > self._now_s() else None

    def left_s(self, session: Session) -> float:
        """Seconds until the end of the session; negative after it."""
        return session.ends_s - self._now_s()

    def accepts(self, request: Request) -> bool:
        """Whether the request has a session, or the token as ``Authorization: Bearer``."""
        if self.session(request) is not None:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._is_token(token.strip(), request)

    async def log_in(self, request: Request) -> bool | Response:
        """POST of the login form: the response with the cookie; False for a wrong token or an old link.

        Raises:
            TimeoutError: the request body did not arrive in time.
        """
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.body()
        secret = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
        by_link = self._links.pop(_digest(secret), float("-inf")) > self._now_s()
        if not by_link and not self._is_token(secret, request):
            await asyncio.sleep(WRONG_PAUSE_S)
            return False
        log.warning("page_login", extra=facts(peer=peer_of(request), by="link" if by_link else "token"))
        name = secrets.token_urlsafe(32)
        await self._remember(name)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            self.cookie, name, max_age=SESSION_S, httponly=True, samesite="strict", secure=self._secure
        )
        return answer

    async def log_out(self, request: Request) -> Response:
        session = self._sessions.pop(self._key(request.cookies.get(self.cookie, "")), None)
        if session is not None:
            session.ended.set()
            await self._save()
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self.cookie, httponly=True, samesite="strict", secure=self._secure)
        return answer

    def _is_token(self, secret: str, request: Request) -> bool:
        """Whether this is the token. Logs a wrong token; after too many, refuses without a comparison."""
        peer = peer_of(request)
        if self._throttle.is_blocked(peer):
            return False
        if self._token is not None and hmac.compare_digest(_digest(secret), self._token):
            return True
        self._throttle.note_wrong(peer)
        log.warning("page_token_wrong", extra=facts(peer=peer))
        return False

    async def _remember(self, name: str) -> None:
        now_s = self._now_s()
        valid = [(digest, session) for digest, session in self._sessions.items() if session.ends_s > now_s]
        for _, oldest in valid[: max(0, len(valid) - SESSIONS_MAX + 1)]:
            oldest.ended.set()
        self._sessions = dict(valid[-(SESSIONS_MAX - 1) :])
        self._sessions[self._key(name)] = Session(now_s + SESSION_S)
        await self._save()

    async def _save(self) -> None:
        if self._file is not None:
            saved = SavedSessions(
                self.cookie, {key: session.ends_s for key, session in self._sessions.items()}
            )
            await asyncio.to_thread(self._file.write, saved)

    def _key(self, name: str) -> bytes:
        """The digest of a cookie, keyed by the token: with another token no stored session is found."""
        return hmac.digest(self._token or b"none", name.encode("utf-8", "replace"), "sha256")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
