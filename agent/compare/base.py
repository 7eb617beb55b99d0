"""What every provider has in common: references, one warm connection, a guard; no retries.

What a failure means is in the provider's code table; whether to ask again is the core's decision.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import httpx

from agent.compare.circuit_breaker import CircuitBreaker
from agent.compare.reference_loader import ReferenceLoader, Side
from agent.config import CompareConfig
from agent.core.model import Comparison, Crop, Request
from agent.core.ports import Clock
from agent.errors import CompareError, ConfigError
from agent.log import facts

log = logging.getLogger(__name__)

_PREPARED_MAX = 8

_Key = tuple[str, str]


class Provider(Protocol):
    """One API on the wire."""

    async def compare(
        self, first: Side, second: Side, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        """Ask once. Raises ``CompareError`` for everything but a number."""

    async def warm(self) -> None:
        """Open the connection for nothing. Never raises on a network's account."""

    async def close(self) -> None:
        """Close it. Safe to call twice."""

    def clock_offset_ms(self) -> int | None:
        """The API's clock minus ours, from its verified TLS answers; None while unknown."""


class CompareClient:
    """Implements ``core.ports.Compare`` over one provider."""

    def __init__(self, provider: Provider, references: ReferenceLoader, clock: Clock) -> None:
        self._provider = provider
        self._references = references
        self._clock = clock
        self._guard = CircuitBreaker(clock.now_ms())
        self._prepared: dict[_Key, Side] = {}
        self._warming: asyncio.Task[None] | None = None

    def clock_offset_ms(self) -> int | None:
        """The API's clock minus ours, from its verified TLS answers; None while unknown."""
        return self._provider.clock_offset_ms()

    async def prepare(self, request: Request) -> None:
        """Resolve the reference; meanwhile, in the background, open the connection."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._provider.warm(), name="compare-warm")
        self._keep(request, await self._references.resolve(request.reference))

    async def ask(
        self, request: Request, crop: Crop, number: int, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        side = self._prepared.get(_key(request))
        if side is None:
            side = await self._references.resolve(request.reference)
        try:
            self._guard.admit(self._clock.now_ms(), is_first=number == 1)
            return await self._compare(crop.jpeg, side, timeout_ms, on_sent)
        except CompareError as error:
            log.info("ask_failed", extra=facts(ask=number, code=error.code, api_code=error.api_code))
            raise

    async def compare(self, first: Side, second: Side, *, timeout_ms: int) -> Comparison:
        """Compare two sides, each the bytes of a picture or a url for the API to download.

        Raises:
            CompareError: anything but a number of 0–100 within ``timeout_ms``. The connection of a
                timed-out or cancelled question is closed: its late answer can answer nothing.
        """
        self._guard.admit(self._clock.now_ms())
        return await self._compare(first, second, timeout_ms, lambda: None)

    async def _compare(
        self, first: Side, second: Side, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        try:
            answer = await self._provider.compare(first, second, timeout_ms, on_sent)
        except CompareError as error:
            self._guard.failed(error, self._clock.now_ms())
            raise
        self._guard.answered()
        return answer

    async def close(self) -> None:
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        self._prepared.clear()
        await self._provider.close()
        await self._references.close()

    def _keep(self, request: Request, side: Side) -> None:
        """Hold the reference until the request's deadline; the oldest goes first when there are many."""
        key = _key(request)
        self._prepared[key] = side
        while len(self._prepared) > _PREPARED_MAX:
            del self._prepared[next(iter(self._prepared))]
        left_s = max(0, request.deadline_ms - self._clock.now_ms()) / 1e3
        asyncio.get_running_loop().call_later(left_s, self._prepared.pop, key, None)


def _key(request: Request) -> _Key:
    return request.till, request.request_id


def check_endpoint(config: CompareConfig, plain_http: bool, floor: float) -> httpx.URL:
    """The url of a config whose url and threshold can be right.

    Raises:
        ConfigError: no http(s) url, plain http where it may not be, a threshold below the provider's floor.
    """
    try:
        url = httpx.URL(config.url)
    except httpx.InvalidURL as error:
        # httpx quotes what it takes for the port: part of a password that holds "/" or "?"
        raise ConfigError("compare.url: cannot be parsed: percent-encode / ? # @ : [ ]") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError("compare.url: needs http:// or https:// and a host")
    if url.scheme == "http" and not plain_http:
        raise ConfigError("compare.url: plain http is for profile = demo, or the risk plain_http_compare")
    if not floor <= config.threshold <= 100:  # NaN fails it too
        raise ConfigError(f"compare.threshold: {config.threshold} is below the floor {floor:g}")
    return url
