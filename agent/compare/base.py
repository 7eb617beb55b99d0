"""The part of the compare client that all providers share: references, a warm connection, a circuit breaker.

The client does not retry and keeps no picture. The code table of the provider maps a failure to a reason;
the core decides about another call.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import httpx

from agent.compare.circuit_breaker import CircuitBreaker
from agent.compare.contract import CompareAnswer
from agent.compare.http_channel import HttpChannel
from agent.compare.reference_loader import ReferenceLoader
from agent.config import CompareConfig
from agent.core.model import Comparison, Crop, Request
from agent.core.ports import Clock, ImageSource
from agent.core.reasons import Reason
from agent.errors import CompareError, ConfigError
from agent.tasks import end_tasks
from agent.texts import Text

_PORT_MAX = 65_535
_NO_PICTURE = b"no picture"


class Provider(ABC):
    """The wire protocol of one compare API: one connection for each call, one total timeout.

    ``name``: as in the config. ``threshold_floor``: a config with a lower threshold is refused.
    """

    name: ClassVar[str]
    threshold_floor: ClassVar[float]

    def __init__(self, config: CompareConfig, secret_key: Callable[[], bytes], clock: Clock) -> None:
        """``secret_key`` is called for each API call. Raises ``ConfigError``: a malformed url or id."""
        self._config = config
        self._secret_key = secret_key
        self._clock = clock
        self.channel = HttpChannel(config.url, config.ca_file, clock)

    async def compare(
        self, first: ImageSource, second: ImageSource, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        """Make one API call. Raises ``CompareError`` for every answer without a valid similarity."""
        request = self._request(first, second)
        began_ms = self._clock.now_ms()
        self._sign(request)
        sign_ms = self._clock.now_ms() - began_ms
        reply = await self.channel.send(request, timeout_ms, on_sent)
        answer = self._parse(reply.status, reply.body)
        return Comparison(
            similarity=answer.similarity,
            threshold=self._config.threshold,
            provider=self.name,
            session_id=answer.session_id,
            sign_ms=sign_ms,
            connect_ms=reply.connect_ms,
            api_ms=reply.api_ms,
        )

    @abstractmethod
    def _request(self, first: ImageSource, second: ImageSource) -> httpx.Request:
        """The request without its signature."""

    @abstractmethod
    def _sign(self, request: httpx.Request) -> None:
        """Add the signature of the present time to the headers."""

    @abstractmethod
    def _parse(self, status: int, body: bytes) -> CompareAnswer:
        """Decode one HTTP answer. Raises ``CompareError`` for every answer without a valid similarity."""


class CompareClient:
    """Implements ``core.ports.Compare`` over one provider.

    Attributes:
        answered_ms: boot clock of the newest similarity or successful ``check``; None: none yet.
    """

    provider: ClassVar[type[Provider]]

    def __init__(
        self,
        config: CompareConfig,
        secret_key: bytes | Callable[[], bytes],
        clock: Clock,
        *,
        profile: Literal["demo", "shop"] = "shop",
        allows_plain_http: bool = False,
    ) -> None:
        """Check the config; open no connection.

        Args:
            config: the section ``[compare]``.
            secret_key: the key, or a function that returns the current one (``secret.secret_reader``).
            clock: ``unix_ms`` signs, ``now_ms`` measures.
            profile: ``shop`` refuses plain http.
            allows_plain_http: the risk ``plain_http_compare`` is accepted; a photo url still needs https.

        Raises:
            ConfigError: plain http in ``shop``, a threshold below the floor, a malformed url or id.
        """
        check_endpoint(config, allows_plain_http or profile == "demo", self.provider.threshold_floor)
        key = secret_key if callable(secret_key) else lambda: secret_key
        self._provider = self.provider(config, key, clock)
        self._references = ReferenceLoader(config, profile)
        self._clock = clock
        self._breaker = CircuitBreaker(clock.now_ms())
        self._warming: asyncio.Task[None] | None = None
        self.answered_ms: int | None = None

    def clock_offset_ms(self) -> int | None:
        """The API's clock minus the local clock, from ``Date`` headers over verified TLS; None if unknown."""
        return self._provider.channel.clock_offset_ms()

    async def prepare(self, request: Request) -> ImageSource:
        """Return the reference; open the connection meanwhile, in the background."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._provider.channel.open_early(), name="compare-warm")
        return await self._references.resolve(request.reference)

    async def call(
        self, reference: ImageSource, crop: Crop, number: int, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        """Make one API call. Ends an unanswered OPTIONS request before the call, and its connection with it.

        An API that serves one connection of a client at a time would refuse the call or let the call wait.
        """
        if self._warming is not None:
            self._warming.cancel()
        is_first = number == 1
        return await self.compare(
            crop.jpeg, reference, timeout_ms=timeout_ms, on_sent=on_sent, is_first=is_first
        )

    async def compare(
        self,
        first: ImageSource,
        second: ImageSource,
        *,
        timeout_ms: int,
        on_sent: Callable[[], None] = lambda: None,
        is_first: bool = False,
    ) -> Comparison:
        """Compare two images.

        Raises:
            CompareError: no similarity of 0 to 100 within ``timeout_ms``. The connection is
                closed when the call ends, so a late or repeated answer cannot reach another call.
        """
        self._breaker.admit(self._clock.now_ms(), is_first=is_first)
        try:
            answer = await self._provider.compare(first, second, timeout_ms, on_sent)
        except CompareError as error:
            self._breaker.record_failure(error, self._clock.now_ms())
            raise
        self._breaker.record_answer()
        self.answered_ms = self._clock.now_ms()
        return answer

    async def check(self, timeout_ms: int) -> None:
        """Check address, signature and account with a signed call that has no picture and costs nothing.

        The API checks the signature and the account first, then refuses the missing picture. The circuit
        breaker does not count the call.

        Raises:
            CompareError: every answer but this refusal, and no answer.
        """
        try:
            await self._provider.compare(_NO_PICTURE, _NO_PICTURE, timeout_ms, lambda: None)
        except CompareError as error:
            if error.code in (Reason.FACE_UNUSABLE, Reason.REFERENCE_UNUSABLE):
                self.answered_ms = self._clock.now_ms()
                return
            raise
        raise CompareError(Text("detail.similarity_without_picture"), code=Reason.COMPARE_MALFORMED)

    async def close(self) -> None:
        await end_tasks(self._warming)
        await self._provider.channel.close()
        await self._references.close()


def check_endpoint(config: CompareConfig, allows_plain_http: bool, floor: float) -> None:
    """Raises ``ConfigError``: no http(s) url, plain http without permission, a threshold below ``floor``."""
    try:
        url = httpx.URL(config.url)
        host, port = url.host, url.port  # decoded here: a host that IDNA cannot decode raises
    except (httpx.InvalidURL, ValueError) as error:
        # httpx quotes what it takes for the port: part of a password that holds "/" or "?"
        raise ConfigError(Text("detail.url_unparsable")) from error
    if url.scheme not in ("http", "https") or not host:
        raise ConfigError(Text("detail.url_without_host"))
    if port is not None and not 0 < port <= _PORT_MAX:
        raise ConfigError(Text("detail.url_port", port=port, most=_PORT_MAX))
    if url.scheme == "http" and not allows_plain_http:
        raise ConfigError(Text("detail.url_plain"))
    if not floor <= config.threshold <= 100:  # NaN fails the comparison, too
        raise ConfigError(Text("detail.threshold_low", threshold=config.threshold, floor=floor))
