"""The one kept connection to an endpoint: timed as a whole, read with a cap, its clock learned."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from agent.compare import contract
from agent.compare.skew import Skew
from agent.compare.translate import FOREIGN, translate
from agent.compare.transport import Reads, Stopwatch, open_client, read_capped
from agent.core.ports import Clock
from agent.core.reasons import Reason
from agent.errors import CompareError
from agent.log import facts

log = logging.getLogger(__name__)

_WARM_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came: nothing in it has been judged yet."""

    status: int
    body: bytes = field(repr=False)
    connect_ms: int  # 0 on a kept connection
    api_ms: int


class Channel:
    """Asks one url. ``http`` builds the requests: it knows the host and the common headers."""

    def __init__(self, url: str, ca_file: Path | None, clock: Clock) -> None:
        self.http = open_client(url, ca_file)
        self._url = url
        self._clock = clock
        self._skew = Skew()
        self._reads = Reads()
        self._tls = url.lower().startswith("https:")  # only then is a Date header to be believed

    def unix_s(self) -> int:
        """Unix seconds to sign with. Raises ``CompareError`` (``clock``) while no plausible time is known."""
        return self._skew.unix_s(self._clock.now_ms(), self._clock.unix_ms())

    def clock_offset_ms(self) -> int | None:
        """The API's clock minus ours; None while unknown."""
        return self._skew.offset_ms(self._clock.now_ms(), self._clock.unix_ms())

    async def ask(self, request: httpx.Request, timeout_ms: int) -> Reply:
        """Send one question. Raises ``CompareError`` for everything but a whole answer in time."""
        watch = Stopwatch(self._clock, self._reads)
        try:
            async with asyncio.timeout(timeout_ms / 1e3):
                status, body = await self._exchange(request, watch)
        except FOREIGN as error:
            raise translate(error) from error
        if body is None:
            raise CompareError(
                "the answer is compressed, endless, or not to this question", code=Reason.COMPARE_MALFORMED
            )
        return Reply(status, body, watch.connect_ms, watch.api_ms())

    async def warm(self) -> None:
        """Open the connection with an OPTIONS: unsigned and without a picture, so never a paid call."""
        try:
            async with asyncio.timeout(_WARM_TIMEOUT_S):
                request = self.http.build_request("OPTIONS", self._url)
                await self._exchange(request, Stopwatch(self._clock, self._reads))
        except FOREIGN as error:
            log.debug("warm_failed", extra=facts(error=type(error).__name__))  # the ask will tell

    async def close(self) -> None:
        await self.http.aclose()

    async def _exchange(self, request: httpx.Request, watch: Stopwatch) -> tuple[int, bytes | None]:
        """Status and body (None: not to be used); an unfinished body closes the connection."""
        request.extensions["trace"] = watch
        response = await self.http.send(request, stream=True)
        if watch.stale:
            log.error("answer_before_question", extra=facts(host=request.url.host))
            await response.aclose()  # its body was not read: this closes the connection
            return response.status_code, None
        if self._tls:
            self._skew.learn(response.headers.get("date", ""), self._clock.now_ms())
        try:
            return response.status_code, await read_capped(response, contract.ANSWER_MAX_BYTES)
        finally:
            await response.aclose()
