"""Estimate of the API's clock, for signatures. Pure.

Source: the ``Date`` header of answers over verified TLS only. The estimate refers to the boot clock, so a
jump of the wall clock does not change the estimate. Reason: a terminal has no battery clock, and the API
refuses an expired signature with code 9.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC
from email.utils import parsedate_to_datetime
from statistics import median_low

from agent.core.reasons import Reason
from agent.errors import CompareError
from agent.texts import Text

EARLIEST_S = 1_767_225_600  # 2026-01-01, before the first release; an earlier time means an unset clock
LATEST_S = 4_102_444_800  # 2100-01-01
_SAMPLES = 5


class ClockOffset:
    """The median of the last ``_SAMPLES`` samples."""

    def __init__(self) -> None:
        self._epochs_ms: deque[int] = deque(maxlen=_SAMPLES)  # unix time at boot, one estimate per answer

    def learn(self, date: str, boot_ms: int) -> None:
        """Add the sample of one ``Date`` header, read at ``boot_ms``. Ignore an implausible header."""
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
