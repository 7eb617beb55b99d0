"""The part of the compare client that all providers share: references, a warm connection, a circuit breaker.

The client does not retry and keeps no picture. The code table of the provider maps a failure to a reason;
the core decides about another call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import httpx

from agent.compare.circuit_breaker import CircuitBreaker
from agent.compare.reference_loader import ReferenceLoader
from agent.config import CompareConfig
from agent.core.model import Comparison, Crop, Request
from agent.core.ports import Clock, ImageSource
from agent.errors import CompareError, ConfigError

_PORT_MAX = 65_535


class Provider(Protocol):
    """The wire protocol of one compare API."""

    async def compare(
        self, first: ImageSource, second: ImageSource, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        """Make one API call. Raises ``CompareError`` for every answer without a valid similarity."""

    async def warm(self) -> None:
        """Open the connection without a paid call. A network failure raises nothing."""

    async def close(self) -> None:
        """Close the connection. Safe to call twice."""

    def clock_offset_ms(self) -> int | None:
        """The API's clock minus the local clock, from ``Date`` headers over verified TLS; None if unknown."""


class CompareClient:
    """Implements ``core.ports.Compare`` over one provider."""

    def __init__(self, provider: Provider, references: ReferenceLoader, clock: Clock) -> None:
        self._provider = provider
        self._references = references
        self._clock = clock
        self._breaker = CircuitBreaker(clock.now_ms())
        self._warming: asyncio.Task[None] | None = None

    def clock_offset_ms(self) -> int | None:
        """The API's clock minus the local clock, from ``Date`` headers over verified TLS; None if unknown."""
        return self._provider.clock_offset_ms()

    async def prepare(self, request: Request) -> ImageSource:
        """Return the reference; open the connection meanwhile, in the background."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._provider.warm(), name="compare-warm")
        return await self._references.resolve(request.reference)

    async def call(
        self,
        reference: ImageSource,
        crop: Crop,
        number: int,
        timeout_ms: int,
        on_sent: Callable[[], None],
    ) -> Comparison:
        self._breaker.admit(self._clock.now_ms(), is_first=number == 1)
        return await self._compare(crop.jpeg, reference, timeout_ms, on_sent)

    async def compare(self, first: ImageSource, second: ImageSource, *, timeout_ms: int) -> Comparison:
        """Compare two images.

        Raises:
            CompareError: no similarity of 0 to 100 within ``timeout_ms``. The connection of a timed-out or
                cancelled call is closed, so a late answer cannot reach another call.
        """
        self._breaker.admit(self._clock.now_ms())
        return await self._compare(first, second, timeout_ms, lambda: None)

    async def _compare(
        self, first: ImageSource, second: ImageSource, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        try:
            answer = await self._provider.compare(first, second, timeout_ms, on_sent)
        except CompareError as error:
            self._breaker.failed(error, self._clock.now_ms())
            raise
        self._breaker.answered()
        return answer

    async def close(self) -> None:
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self._provider.close()
        await self._references.close()


def check_endpoint(config: CompareConfig, plain_http: bool, floor: float) -> httpx.URL:
    """The url of a plausible config.

    Raises:
        ConfigError: no http(s) url, plain http without permission, a threshold below the provider's floor.
    """
    try:
        url = httpx.URL(config.url)
        host, port = url.host, url.port  # decoded here: a host that IDNA cannot decode raises
    except (httpx.InvalidURL, ValueError) as error:
        # httpx quotes what it takes for the port: part of a password that holds "/" or "?"
        raise ConfigError("compare.url: cannot be parsed: percent-encode / ? # @ : [ ]") from error
    if url.scheme not in ("http", "https") or not host:
        raise ConfigError("compare.url: needs http:// or https:// and a host")
    if port is not None and not 0 < port <= _PORT_MAX:
        raise ConfigError(f"compare.url: port {port} is outside 1 to {_PORT_MAX}")
    if url.scheme == "http" and not plain_http:
        raise ConfigError("compare.url: plain http is for profile = demo, or the risk plain_http_compare")
    if not floor <= config.threshold <= 100:  # NaN fails the comparison, too
        raise ConfigError(f"compare.threshold: {config.threshold} is below the floor {floor:g}")
    return url
