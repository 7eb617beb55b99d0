"""Asking one endpoint, and what was seen of its answer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from agent.compare.translate import FOREIGN, translate
from agent.compare.transport import open_client, read_capped
from agent.errors import ConfigError
from agent.kits.compare.bodies import RequestBody
from agent.kits.compare.images import Pictures

TIMEOUT_S = 20.0
DOWNLOAD_CODES = frozenset({-1308, -1403, -1408, -1505, -1506, -1507})
_ANSWER_MAX_BYTES = 64 * 1024
_RATE_LIMIT, _PATIENCE = 15, 5


class CheckOutcome(StrEnum):
    PASS = "pass"  # noqa: S105 - an outcome, no password
    DIFFERS = "differs"
    NOT_OFFERED = "not offered"


class Differs(Exception):
    """The answer is not what the page says. The text is the table's reason."""


class NotOffered(Exception):
    """The endpoint, or what we were given to ask with, does not have this."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    group: str
    name: str
    outcome: CheckOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks. ``bucket`` may be empty: then the rows about it are not offered."""

    appid: str
    secret_id: str
    secret_key: bytes = field(repr=False)
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """One answer. ``tree`` is None when the body is no JSON object, compressed, or does not end."""

    status: int
    content_type: str
    tree: Mapping[str, Any] | None
    connected: bool  # on a new connection

    @property
    def code(self) -> int | None:
        code = self.tree.get("code") if self.tree else None
        return code if isinstance(code, int) and not isinstance(code, bool) else None

    @property
    def data(self) -> Mapping[str, Any]:
        data = self.tree.get("data") if self.tree else None
        return data if isinstance(data, dict) else {}

    def __str__(self) -> str:
        if self.code is None:
            return f"HTTP {self.status}, {self.content_type or 'no type'}, no code"
        flag = f" fail_flag {self.data['fail_flag']}" if "fail_flag" in self.data else ""
        return f"code {self.code}{flag}"

    def similarity(self) -> float:
        """Raises ``Differs`` for anything but a success with a number of the scale."""
        value = self.data.get("similarity")
        if self.code != 0 or isinstance(value, bool) or not isinstance(value, int | float):
            raise Differs(f"no similarity: {self}")
        if not 0 <= value <= 100:
            raise Differs(f"similarity {value}")
        return float(value)


class Probe:
    """One endpoint, one account, the shipped pictures.

    ``photos_url`` is where the endpoint can download ``shot`` and ``reference``, without a slash at its end;
    None: nowhere, so the rows about urls are not offered.
    """

    def __init__(
        self, url: str, account: Account, *, ca_file: Path | None = None, photos_url: str | None = None
    ) -> None:
        """Raises ``ConfigError``: no http(s) url, or certificates that cannot be read."""
        self.account = account
        self.pictures = Pictures.shipped()
        self._photos_url = photos_url
        self._url = _checked(url)
        self._http = open_client(url, ca_file)

    async def close(self) -> None:
        await self._http.aclose()

    def photo_url(self, name: str) -> str:
        if self._photos_url is None:
            raise NotOffered("no address is known from which the endpoint could download a picture")
        return f"{self._photos_url}/{name}"

    def sign(
        self,
        order: str = "abketruf",
        *,
        age_s: int = 0,
        validity_s: int = 60,
        key: bytes | None = None,
        **changes: str,
    ) -> str:
        """An ``Authorization`` value: the fields of ``order`` in that order, ``changes`` by field name."""
        now_s = int(time.time()) - age_s
        fields = {
            "a": self.account.appid,
            "b": self.account.bucket,
            "k": self.account.secret_id,
            "e": str(now_s + validity_s),
            "t": str(now_s),
            "r": str(secrets.randbelow(10**9)),
            "u": "0",
            "f": "",
        } | changes
        text = "&".join(f"{name}={fields[name]}" for name in order).encode()
        digest = hmac.digest(self.account.secret_key if key is None else key, text, hashlib.sha1)
        return base64.b64encode(digest + text).decode("ascii")

    async def knock(self) -> None:
        """One cheap question. Raises ``CompareError`` when nothing answers it."""
        await self._ask_once(RequestBody(b"{}", "application/json"), {})

    async def ask(
        self, body: RequestBody, *, authorization: str | None = None, headers: Mapping[str, str] | None = None
    ) -> ProbeAnswer:
        """Ask, signed properly unless ``authorization`` says otherwise ("-": no such header).

        A rate limit is waited out. Raises ``CompareError`` when no answer comes in time.
        """
        for _ in range(_PATIENCE):
            given = dict(headers or {})
            if authorization != "-":
                given["Authorization"] = self.sign() if authorization is None else authorization
            seen = await self._ask_once(body, given)
            if seen.code != _RATE_LIMIT:
                break
            await asyncio.sleep(1)
        return seen

    async def _ask_once(self, body: RequestBody, headers: dict[str, str]) -> ProbeAnswer:
        connects = list[str]()

        async def watch(event: str, _: object) -> None:
            if event == "connection.connect_tcp.started":
                connects.append(event)

        given = {**headers, "Content-Type": body.content_type} if body.content_type else headers
        request = self._http.build_request(
            "POST", self._url, content=body.content, headers=given, extensions={"trace": watch}
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                response = await self._http.send(request, stream=True)
                try:
                    raw = await read_capped(response, _ANSWER_MAX_BYTES)
                finally:
                    await response.aclose()
        except FOREIGN as error:
            raise translate(error) from error
        kind = response.headers.get("content-type", "")
        return ProbeAnswer(
            response.status_code, kind, None if raw is None else _object(raw), connected=bool(connects)
        )


def host_of(url: str) -> str:
    """Raises ``ConfigError``: no http(s) url."""
    return _checked(url).host


def _checked(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ConfigError(f"url: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError("url: needs http:// or https:// and a host")
    return url


def _object(raw: bytes) -> Mapping[str, Any] | None:
    try:
        tree = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


@dataclass(frozen=True, slots=True)
class ContractCheck:
    """``run`` returns the table's reason of a pass; raises ``Differs`` or ``NotOffered``."""

    group: str
    name: str
    run: Callable[[Probe], Awaitable[str]]
