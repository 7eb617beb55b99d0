"""HTTP requests to one endpoint: one total timeout, a size limit, and an estimate of the endpoint's clock."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from agent.compare import contract
from agent.compare.clock_offset import ClockOffset
from agent.compare.exchange import ExchangeConnection, Exchanges, client
from agent.compare.translate import FOREIGN, translate
from agent.compare.transport import Stopwatch, read_capped, trust
from agent.core.ports import Clock
from agent.core.reasons import Reason
from agent.errors import CompareError, CompareSlow
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

_WARM_TIMEOUT_MS = 3_000


@dataclass(frozen=True, slots=True)
class Reply:
    """A received answer, not yet validated."""

    status: int
    body: bytes = field(repr=False)
    connect_ms: int  # 0 on a reused connection
    api_ms: int


class HttpChannel:
    """Sends requests to one url. ``http`` only builds requests; it holds the host and the common headers."""

    def __init__(self, url: str, ca_file: Path | None, clock: Clock) -> None:
        context = trust(url, ca_file)
        self.http = client(context)
        self._exchanges = Exchanges(lambda: client(context))
        self._url = url
        self._clock = clock
        self._clock_offset = ClockOffset()
        self._tls = url.lower().startswith("https:")  # only then the Date header is trusted

    def unix_s(self) -> int:
        """Unix seconds for a signature. Raises ``CompareError`` (``clock``) without a plausible time."""
        return self._clock_offset.unix_s(self._clock.now_ms(), self._clock.unix_ms())

    def clock_offset_ms(self) -> int | None:
        """The API's clock minus the local clock; None while unknown."""
        return self._clock_offset.offset_ms(self._clock.now_ms(), self._clock.unix_ms())

    async def send(
        self, request: httpx.Request, timeout_ms: int, on_sent: Callable[[], None] = lambda: None
    ) -> Reply:
        """Send one request and return the answer. ``on_sent`` is called when the body is about to be sent.

        Raises:
            CompareSlow: the request was sent, and no complete answer arrived in time.
            CompareError: every other failure.
        """
        watch = Stopwatch(self._clock, on_sent)
        try:
            status, body = await self._exchanges.run(
                lambda connection: self._exchange(connection, request, watch), timeout_ms / 1e3
            )
        except FOREIGN as error:
            if isinstance(error, TimeoutError) and watch.is_sent:
                raise CompareSlow(Text("detail.api_slow", timeout_ms=timeout_ms)) from error
            raise translate(error) from error
        if body is None:
            why = Text("detail.answer_unusable")
            raise CompareError(why, code=Reason.COMPARE_MALFORMED)
        return Reply(status, body, watch.connect_ms, watch.api_ms())

    async def warm(self) -> None:
        """Open the connection with OPTIONS: unsigned and without a picture, so the call is free."""
        try:
            await self.send(self.http.build_request("OPTIONS", self._url), _WARM_TIMEOUT_MS)
        except CompareError as error:  # the next API call reports the failure
            log.debug("warm_failed", extra=facts(error=error))

    async def close(self) -> None:
        await self._exchanges.close()
        await self.http.aclose()

    async def _exchange(
        self, connection: ExchangeConnection, request: httpx.Request, watch: Stopwatch
    ) -> tuple[int, bytes | None]:
        """Status and body; None: not usable. An unread body closes the connection."""
        watch.attach(request, connection)
        response = await connection.http.send(request, stream=True)
        if watch.stale:
            log.error("answer_before_request", extra=facts(host=request.url.host))
            await response.aclose()  # the body is unread, so the connection is closed
            return response.status_code, None
        if self._tls:
            self._clock_offset.learn(response.headers.get("date", ""), self._clock.now_ms())
        try:
            body = await read_capped(response, contract.ANSWER_MAX_BYTES)
            is_chunked = "transfer-encoding" in response.headers
            connection.finish(len(body or b""), is_chunked=is_chunked)
            return response.status_code, body
        finally:
            await response.aclose()
