"""``/face/compare`` of 2018 behind the ``Compare`` port: one kept connection, one total time-out, no retries.

What a failure means is in the code table; whether to ask again is the core's decision.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable
from typing import Literal

import httpx

from agent.compare import contract, signature
from agent.compare.references import References, Side
from agent.compare.translate import FOREIGN, translate
from agent.compare.transport import Stopwatch, open_client, read_capped
from agent.config import CompareConfig
from agent.core.model import Comparison, Crop, Request
from agent.core.ports import Clock
from agent.core.reasons import Reason
from agent.errors import CompareError, ConfigError
from agent.log import facts

log = logging.getLogger(__name__)

_VALIDITY_S = 60
_NONCE_END = 10**10
_WARM_TIMEOUT_S = 3.0
_PREPARED_MAX = 8

_SIGNABLE = re.compile(r"[A-Za-z0-9_.-]+")  # nothing that could end a field of the signature

_Key = tuple[str, str]


class FaceCompare2018:
    """Implements ``core.ports.Compare``.

    Args:
        config: this provider's section.
        secret_key: the key, or a function that returns the current one (``secret.from_file``).
        clock: ``unix_ms`` signs, ``now_ms`` measures.
        profile: ``shop`` refuses plain http.

    Raises:
        ConfigError: plain http in ``shop``, a threshold below the floor, missing or non-ASCII ids.
    """

    def __init__(
        self,
        config: CompareConfig,
        secret_key: bytes | Callable[[], bytes],
        clock: Clock,
        *,
        profile: Literal["demo", "shop"] = "shop",
    ) -> None:
        _check(config, profile)
        self._config = config
        self._secret_key = secret_key if callable(secret_key) else lambda: secret_key
        self._clock = clock
        self._who = signature.Credential(config.appid, config.secret_id, config.bucket)
        self._http = open_client(config.url, config.ca_file)
        self._references = References(config, profile)
        self._prepared: dict[_Key, Side] = {}
        self._warming: asyncio.Task[None] | None = None

    async def prepare(self, request: Request) -> None:
        """Resolve the reference; meanwhile, in the background, open the connection."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._warm(), name="compare-warm")
        self._keep(request, await self._references.resolve(request.reference))

    async def ask(self, request: Request, crop: Crop, number: int, timeout_ms: int) -> Comparison:
        side = self._prepared.get(_key(request))
        if side is None:
            side = await self._references.resolve(request.reference)
        try:
            return await self.compare(crop.jpeg, side, timeout_ms=timeout_ms)
        except CompareError as error:
            log.info("ask_failed", extra=facts(ask=number, code=error.code, api_code=error.api_code))
            raise

    async def compare(self, first: Side, second: Side, *, timeout_ms: int) -> Comparison:
        """Compare two sides, each the bytes of a picture or a url for the API to download.

        Raises:
            CompareError: anything but a number of 0–100 within ``timeout_ms``. The connection of a
                timed-out or cancelled question is closed: its late answer can answer nothing.
        """
        began_ms = self._clock.now_ms()
        authorization = self._authorization()
        watch = Stopwatch(self._clock)
        sign_ms = self._clock.now_ms() - began_ms
        try:
            request = self._request(first, second)
            request.headers["Authorization"] = authorization
            request.extensions["trace"] = watch
            async with asyncio.timeout(timeout_ms / 1e3):
                status, body = await self._exchange(request)
        except FOREIGN as error:
            raise translate(error) from error
        if body is None:
            raise CompareError("the answer is compressed or does not end", code=Reason.COMPARE_MALFORMED)
        answer = contract.parse_answer(status, body)
        return Comparison(
            similarity=answer.similarity,
            threshold=self._config.threshold,
            provider=contract.PROVIDER,
            session_id=answer.session_id,
            sign_ms=sign_ms,
            connect_ms=watch.connect_ms,
            api_ms=watch.api_ms(),
        )

    async def close(self) -> None:
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        self._prepared.clear()
        await self._http.aclose()
        await self._references.close()

    async def _warm(self) -> None:
        """Open the connection with an OPTIONS: unsigned and without a picture, so never a paid call."""
        try:
            async with asyncio.timeout(_WARM_TIMEOUT_S):
                await self._exchange(self._http.build_request("OPTIONS", self._config.url))
        except FOREIGN as error:
            log.debug("warm_failed", extra=facts(error=type(error).__name__))  # the ask will tell

    async def _exchange(self, request: httpx.Request) -> tuple[int, bytes | None]:
        """Status and body (None: too long or compressed); an unfinished body closes the connection."""
        response = await self._http.send(request, stream=True)
        try:
            return response.status_code, await read_capped(response, contract.ANSWER_MAX_BYTES)
        finally:
            await response.aclose()

    def _keep(self, request: Request, side: Side) -> None:
        """Hold the reference until the request's deadline; the oldest goes first when there are many."""
        key = _key(request)
        self._prepared[key] = side
        while len(self._prepared) > _PREPARED_MAX:
            del self._prepared[next(iter(self._prepared))]
        left_s = max(0, request.deadline_ms - self._clock.now_ms()) / 1e3
        asyncio.get_running_loop().call_later(left_s, self._prepared.pop, key, None)

    def _authorization(self) -> str:
        return signature.sign(
            self._who,
            self._secret_key(),
            now_s=self._clock.unix_ms() // 1000,
            validity_s=_VALIDITY_S,
            nonce=secrets.randbelow(_NONCE_END),
        )

    def _request(self, first: Side, second: Side) -> httpx.Request:
        """JSON for two urls, multipart as soon as one side is bytes."""
        fields = {contract.APPID: self._config.appid}
        if self._config.bucket:
            fields[contract.BUCKET] = self._config.bucket
        files: dict[str, tuple[str, bytes, str]] = {}
        for side, image, url in zip((first, second), contract.IMAGE_FIELDS, contract.URL_FIELDS, strict=True):
            if isinstance(side, str):
                fields[url] = side
            else:
                files[image] = (f"{image}.jpg", side, "image/jpeg")
        return self._http.build_request(
            "POST",
            self._config.url,
            # never a Content-Type of our own: httpx would then send no boundary
            json=None if files else fields,
            data=fields if files else None,
            files=files or None,
        )


def _key(request: Request) -> _Key:
    return request.till, request.request_id


def _check(config: CompareConfig, profile: str) -> None:
    try:
        url = httpx.URL(config.url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"compare.url: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError("compare.url: needs http:// or https:// and a host")
    if url.scheme == "http" and profile != "demo":
        raise ConfigError("compare.url: plain http is for profile = demo only")
    if not contract.THRESHOLD_FLOOR <= config.threshold <= 100:  # NaN fails it too
        raise ConfigError(
            f"compare.threshold: {config.threshold} is below the floor {contract.THRESHOLD_FLOOR:g}"
        )
    for name, value in (("appid", config.appid), ("secret_id", config.secret_id), ("bucket", config.bucket)):
        if not _SIGNABLE.fullmatch(value) and (value or name != "bucket"):
            raise ConfigError(f"compare.{name}: needs letters, digits, '-', '_' or '.'")
