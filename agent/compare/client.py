"""``/face/compare`` of 2018 behind the ``Compare`` port: one kept connection, one total time-out, no retries.

What a failure means is in the code table; whether to ask again is the core's decision.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Literal

import httpx

from agent.compare import contract
from agent.compare.guard import Guard
from agent.compare.references import References, Side
from agent.compare.wire import Wire
from agent.config import CompareConfig
from agent.core.model import Comparison, Crop, Request
from agent.core.ports import Clock
from agent.errors import CompareError, ConfigError
from agent.log import facts

log = logging.getLogger(__name__)

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
        self._clock = clock
        self._wire = Wire(config, secret_key if callable(secret_key) else lambda: secret_key, clock)
        self._references = References(config, profile)
        self._guard = Guard(clock.now_ms())
        self._prepared: dict[_Key, Side] = {}
        self._warming: asyncio.Task[None] | None = None

    async def prepare(self, request: Request) -> None:
        """Resolve the reference; meanwhile, in the background, open the connection."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._wire.warm(), name="compare-warm")
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
        self._guard.admit(self._clock.now_ms())
        try:
            answer = await self._wire.compare(first, second, timeout_ms)
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
        await self._wire.close()
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
