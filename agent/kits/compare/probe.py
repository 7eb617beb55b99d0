"""The HTTP client of the conformance kit: request bodies as real clients send them, and decoded answers."""

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
from typing import Any, Generic, TypeVar

import httpx

from agent.compare.translate import FOREIGN, translate
from agent.compare.transport import open_client, read_capped
from agent.errors import ConfigError
from agent.kits.compare.images import Pictures
from agent.texts import Text

TIMEOUT_S = 20.0
DOWNLOAD_CODES = frozenset({-1308, -1403, -1408, -1505, -1506, -1507})
_ANSWER_MAX_BYTES = 64 * 1024
_RATE_LIMIT, _RATE_LIMIT_TRIES = 15, 5
BOUNDARY = "--------------acebdf13572468"
JPEG_FILE = '; filename="photo.jpg"\r\nContent-Type: image/jpeg'
# The header text after "Content-Disposition: form-data; " up to the empty line, and the value.
Part = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class RequestBody:
    content: bytes = field(repr=False)
    content_type: str  # empty: no Content-Type header


def part(name: str, value: str | bytes, more: str = "") -> Part:
    return f'name="{name}"{more}', value.encode() if isinstance(value, str) else value


def multipart(*parts: Part) -> RequestBody:
    content = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + value + b"\r\n"
        for head, value in parts
    )
    return RequestBody(content + f"--{BOUNDARY}--\r\n".encode(), f"multipart/form-data;boundary={BOUNDARY}")


def json_body(fields: dict[str, object], content_type: str = "application/json") -> RequestBody:
    return RequestBody(json.dumps(fields).encode(), content_type)


class CheckOutcome(StrEnum):
    PASS = "pass"  # noqa: S105 - an outcome, not a password
    DIFFERS = "differs"
    NOT_OFFERED = "not offered"


class Differs(Exception):
    """The answer differs from the API page. The message is the reason in the table."""


class NotOffered(Exception):
    """The endpoint or the given account does not support the feature."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    group: str
    name: str
    outcome: CheckOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class Account:
    """The account of the requests. ``bucket`` may be empty: the rows about buckets are not offered."""

    appid: str
    secret_id: str
    secret_key: bytes = field(repr=False)
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """One answer. ``tree``: None when the body is not a JSON object, is compressed or is incomplete."""

    status: int
    content_type: str
    tree: Mapping[str, Any] | None
    connected: bool  # whether a new connection was opened

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
        """The similarity, 0 to 100. Raises ``Differs``: no success, or no number in this range."""
        value = self.data.get("similarity")
        if self.code != 0 or isinstance(value, bool) or not isinstance(value, int | float):
            raise Differs(f"no similarity: {self}")
        if not 0 <= value <= 100:
            raise Differs(f"similarity {value}")
        return float(value)


class Probe:
    """One endpoint, one account, the shipped images.

    ``photos_url``: the base url of ``shot`` and ``reference`` for the endpoint's downloads, without a final
    slash; None: the rows about urls are not offered.
    """

    def __init__(
        self, url: str, account: Account, *, ca_file: Path | None = None, photos_url: str | None = None
    ) -> None:
        """Raises ``ConfigError``: not an http(s) url, or unreadable certificates."""
        self.account = account
        self.pictures = Pictures.shipped()
        self._photos_url = photos_url
        self._url = checked_url(url)
        self._http = open_client(url, ca_file)

    async def close(self) -> None:
        await self._http.aclose()

    def photo_url(self, name: str) -> str:
        if self._photos_url is None:
            raise NotOffered("no address is given from which the endpoint can download an image")
        return f"{self._photos_url}/{name}"

    def sign(
        self,
        order: str = "abketruf",
        *,
        age_s: int = 0,
        validity_s: int = 60,
        key: bytes = b"",
        **changes: str,
    ) -> str:
        """An ``Authorization`` value: the fields of ``order`` in that order, ``changes`` by field name."""
        now_s = int(time.time()) - age_s
        fields = {"a": self.account.appid, "b": self.account.bucket, "k": self.account.secret_id}
        fields |= {"e": str(now_s + validity_s), "t": str(now_s), "r": str(secrets.randbelow(10**9))}
        fields |= {"u": "0", "f": ""} | changes
        text = "&".join(f"{name}={fields[name]}" for name in order).encode()
        digest = hmac.digest(key or self.account.secret_key, text, hashlib.sha1)
        return base64.b64encode(digest + text).decode("ascii")

    async def send(
        self, body: RequestBody, *, authorization: str | None = None, headers: Mapping[str, str] | None = None
    ) -> ProbeAnswer:
        """Send a request, with a valid signature unless ``authorization`` is given ("-": no such header).

        Above the rate limit the request is repeated, at most 5 times. Raises ``CompareError``: no answer.
        """
        for _ in range(_RATE_LIMIT_TRIES):
            sent = dict(headers or {})
            if authorization != "-":
                sent["Authorization"] = self.sign() if authorization is None else authorization
            answer = await self._send_once(body, sent)
            if answer.code != _RATE_LIMIT:
                break
            await asyncio.sleep(1)
        return answer

    async def _send_once(self, body: RequestBody, headers: dict[str, str]) -> ProbeAnswer:
        connects = list[str]()

        async def watch(event: str, _: object) -> None:
            if event == "connection.connect_tcp.started":
                connects.append(event)

        sent = {**headers, "Content-Type": body.content_type} if body.content_type else headers
        request = self._http.build_request(
            "POST", self._url, content=body.content, headers=sent, extensions={"trace": watch}
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
        content_type = response.headers.get("content-type", "")
        tree = None if raw is None else _object(raw)
        return ProbeAnswer(response.status_code, content_type, tree, connected=bool(connects))


def checked_url(text: str) -> httpx.URL:
    """Raises ``ConfigError``: not an http(s) url."""
    try:
        url = httpx.URL(text)
        host = url.host  # decoded here: a host that IDNA cannot decode raises
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigError(Text("detail.at", place="url", reason=Text("detail.url_wrong"))) from error
    if url.scheme not in ("http", "https") or not host:
        raise ConfigError(Text("detail.url_needs_host"))
    return url


def _object(raw: bytes) -> Mapping[str, Any] | None:
    try:
        tree = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


SomeProbe = TypeVar("SomeProbe", bound=Probe)


@dataclass(frozen=True, slots=True)
class ContractCheck(Generic[SomeProbe]):
    """``run`` returns the reason of a pass for the table; raises ``Differs`` or ``NotOffered``."""

    group: str
    name: str
    run: Callable[[SomeProbe], Awaitable[str]]
