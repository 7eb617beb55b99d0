"""Keeps the terminal's retained ``state`` on the broker what the terminal published last.

The broker delivers the terminal's own ``state`` back. When another payload is retained there (cleared by an
operator, overwritten, the last will of an older connection), ``state`` is published again after ``SETTLE_S``.
In that time the echoes of several publishes in a row arrive; the newest one counts. The number of repairs is
limited: two terminals that share one key would otherwise overwrite each other without end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from agent.core.rate import TokenBucket

log = logging.getLogger(__name__)

SETTLE_S = 1.0
REPAIRS_PER_S, REPAIRS_BURST = 1 / 60, 3


class StateKeeper:
    """Belongs to the event loop.

    Args:
        now_s: monotonic seconds.
        is_foreign: whether a ``state`` is that of another terminal: that one is never overwritten.
        repair: publish ``state`` again.
    """

    def __init__(
        self, now_s: Callable[[], float], is_foreign: Callable[[bytes], bool], repair: Callable[[], None]
    ) -> None:
        self._now_s, self._is_foreign, self._repair = now_s, is_foreign, repair
        self._published: bytes | None = None
        self._seen: bytes | None = None
        self._check: asyncio.TimerHandle | None = None
        self._repairs = TokenBucket(REPAIRS_PER_S, REPAIRS_BURST, now_s())

    def published(self, payload: bytes) -> None:
        """The terminal is about to publish this ``state``."""
        self._published = payload

    def seen(self, payload: bytes) -> None:
        """The broker delivered this ``state``; empty: it was cleared."""
        self._seen = payload
        if payload != self._published and self._check is None:
            self._later(SETTLE_S)

    def close(self) -> None:
        if self._check is not None:
            self._check.cancel()
            self._check = None

    def _later(self, delay_s: float) -> None:
        self._check = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        self._check = None
        if self._published is None or self._seen in (None, self._published):
            return
        if self._is_foreign(self._seen or b""):
            return
        if self._repairs.take(self._now_s()):
            log.warning("state_published_again")
            self._repair()
        else:
            self._later(1 / REPAIRS_PER_S / 4)
