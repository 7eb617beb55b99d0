"""One question on the wire: signed, sent over a kept connection, read with a cap, timed as a whole."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

import httpx

from agent.compare import contract, signature
from agent.compare.references import Side
from agent.compare.skew import Skew
from agent.compare.translate import FOREIGN, translate
from agent.compare.transport import Stopwatch, open_client, read_capped
from agent.config import CompareConfig
from agent.core.model import Comparison
from agent.core.ports import Clock
from agent.core.reasons import Reason
from agent.errors import CompareError
from agent.log import facts

log = logging.getLogger(__name__)

_VALIDITY_S = 60
_NONCE_END = 10**10
_WARM_TIMEOUT_S = 3.0


class Wire:
    """The endpoint of a checked config. ``secret_key`` is called for every question."""

    def __init__(self, config: CompareConfig, secret_key: Callable[[], bytes], clock: Clock) -> None:
        self._config = config
        self._secret_key = secret_key
        self._clock = clock
        self._who = signature.Credential(config.appid, config.secret_id, config.bucket)
        self._http = open_client(config.url, config.ca_file)
        self._skew = Skew()
        self._tls = config.url.lower().startswith("https:")  # only then is a Date header to be believed

    async def close(self) -> None:
        await self._http.aclose()

    async def compare(self, first: Side, second: Side, timeout_ms: int) -> Comparison:
        """Ask once. Raises ``CompareError`` for everything but a number."""
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

    async def warm(self) -> None:
        """Open the connection with an OPTIONS: unsigned and without a picture, so never a paid call."""
        try:
            async with asyncio.timeout(_WARM_TIMEOUT_S):
                await self._exchange(self._http.build_request("OPTIONS", self._config.url))
        except FOREIGN as error:
            log.debug("warm_failed", extra=facts(error=type(error).__name__))  # the ask will tell

    async def _exchange(self, request: httpx.Request) -> tuple[int, bytes | None]:
        """Status and body (None: too long or compressed); an unfinished body closes the connection."""
        response = await self._http.send(request, stream=True)
        if self._tls:
            self._skew.learn(response.headers.get("date", ""), self._clock.now_ms())
        try:
            return response.status_code, await read_capped(response, contract.ANSWER_MAX_BYTES)
        finally:
            await response.aclose()

    def _authorization(self) -> str:
        return signature.sign(
            self._who,
            self._secret_key(),
            now_s=self._skew.unix_s(self._clock.now_ms(), self._clock.unix_ms()),
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
