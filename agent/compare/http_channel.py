"""HTTP requests to one endpoint: one total timeout, a size limit, and an estimate of the endpoint's clock."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from statistics import median_low

import httpx

from agent.compare import contract
from agent.compare.exchange import ExchangeConnection, Exchanges, client
from agent.compare.translate import FOREIGN, translate
from agent.compare.transport import Stopwatch, read_whole, trusted_certificates
from agent.core.ports import Clock
from agent.core.reasons import Reason
from agent.errors import CompareError, CompareSlow
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

_WARM_TIMEOUT_MS = 3_000
EARLIEST_S = 1_767_225_600  # 2026-01-01, before the first release; an earlier time means an unset clock
LATEST_S = 4_102_444_800  # 2100-01-01
_SAMPLES = 5


class ClockOffset:
    """Estimate of the API's clock, for signatures: the median of the last ``_SAMPLES`` samples. Pure.

    Source: the ``Date`` header of answers over verified TLS only. The estimate refers to the boot clock, so a
    jump of the wall clock does not change the estimate. Reason: a terminal has no battery clock, and the API
    refuses an expired signature with code 9.
    """

    def __init__(self) -> None:
        self._epochs_ms: deque[int] = deque(maxlen=_SAMPLES)  # unix time at boot, one estimate per answer

    def add_sample(self, date: str, boot_ms: int) -> None:
        """Add one sample from a ``Date`` header of an answer at ``boot_ms``. Ignores an implausible one."""
        try:
            parsed = parsedate_to_datetime(date)
            if parsed.tzinfo is None:  # "-0000": UTC, time zone unknown (RFC 5322, 3.3)
                parsed = parsed.replace(tzinfo=UTC)
            date_s = parsed.timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            return
        if EARLIEST_S <= date_s <= LATEST_S:
            self._epochs_ms.append(round(date_s * 1e3) - boot_ms)

    def offset_ms(self, boot_ms: int, wall_ms: int) -> int | None:
        """The API's clock minus the wall clock, precision about ±1 s; None without samples."""
        return boot_ms + median_low(self._epochs_ms) - wall_ms if self._epochs_ms else None

    def unix_s(self, boot_ms: int, wall_ms: int) -> int:
        """Unix seconds for a signature: the estimate, or the wall clock without samples.

        Raises:
            CompareError: ``clock``, when that time is not plausible.
        """
        now_ms = boot_ms + median_low(self._epochs_ms) if self._epochs_ms else wall_ms
        if now_ms < EARLIEST_S * 1_000:
            why, fix = Text("detail.clock_not_set"), Text("fix.clock_never_set")
            raise CompareError(why, code=Reason.CLOCK, fix=fix)
        return now_ms // 1_000


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
        context = trusted_certificates(url, ca_file)
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
        self,
        request: httpx.Request,
        timeout_ms: int,
        on_sent: Callable[[], None] = lambda: None,
        *,
        closes_connection: bool = True,
    ) -> Reply:
        """Send one request and return the answer. ``on_sent`` is called when the body is about to be sent.

        ``closes_connection``: close the connection after the exchange. A gateway can send an answer twice,
        or an error first and the similarity later. On a reused connection the late answer would be the answer
        to the next call: the similarity of another person. False only for a request that gets no similarity.

        Raises:
            CompareSlow: the request was sent, and no complete answer arrived in time.
            CompareError: every other failure.
        """
        watch = Stopwatch(self._clock, on_sent)
        try:
            status, body = await self._exchanges.run(
                lambda connection: self._exchange(connection, request, watch),
                timeout_ms / 1e3,
                closes_connection=closes_connection,
            )
        except FOREIGN as error:
            if isinstance(error, TimeoutError) and watch.is_sent:
                raise CompareSlow(Text("detail.api_slow", timeout_ms=timeout_ms)) from error
            raise translate(error) from error
        if body is None:
            why = Text("detail.answer_unusable")
            raise CompareError(why, code=Reason.COMPARE_MALFORMED)
        return Reply(status, body, watch.connect_ms, watch.api_ms())

    async def open_early(self) -> None:
        """Open the connection with OPTIONS: unsigned and without a picture, so the call is free."""
        try:
            request = self.http.build_request("OPTIONS", self._url)
            await self.send(request, _WARM_TIMEOUT_MS, closes_connection=False)
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
            self._clock_offset.add_sample(response.headers.get("date", ""), self._clock.now_ms())
        try:
            return response.status_code, await read_whole(connection, response, contract.ANSWER_MAX_BYTES)
        finally:
            await response.aclose()
