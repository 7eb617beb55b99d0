"""What time the API thinks it is. Terminals have no battery clock, and an expired signature is code 9.

Learned from the ``Date`` header of answers over verified TLS only, and kept against the boot clock, so that a
jump of the wall clock cannot turn a learned offset into an error. Pure.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC
from email.utils import parsedate_to_datetime
from statistics import median_low

from agent.core.reasons import Reason
from agent.errors import CompareError
from agent.texts import Text

EARLIEST_S = 1_767_225_600  # 2026-01-01, before the first release: an earlier clock was never set
LATEST_S = 4_102_444_800  # 2100-01-01
_SAMPLES = 5


class ClockOffset:
    """The API's unix time, as well as it is known."""

    def __init__(self) -> None:
        self._epochs_ms: deque[int] = deque(maxlen=_SAMPLES)  # unix time at boot, one estimate per answer

    def learn(self, date: str, boot_ms: int) -> None:
        """Take one ``Date`` header, read at ``boot_ms``. An unreadable or absurd one changes nothing."""
        try:
            moment = parsedate_to_datetime(date)
            if moment.tzinfo is None:  # "-0000", which RFC 5322 says means UTC from an unknown zone
                moment = moment.replace(tzinfo=UTC)
            moment_s = moment.timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            return
        if EARLIEST_S <= moment_s <= LATEST_S:
            self._epochs_ms.append(round(moment_s * 1e3) - boot_ms)

    def offset_ms(self, boot_ms: int, wall_ms: int) -> int | None:
        """The API's clock minus the wall clock; None before anything was learned. About ±1 s fine."""
        return boot_ms + median_low(self._epochs_ms) - wall_ms if self._epochs_ms else None

    def unix_s(self, boot_ms: int, wall_ms: int) -> int:
        """Unix seconds to sign with: learned if anything was, else the wall clock.

        Raises:
            CompareError: ``clock``, when neither is plausible.
        """
        now_ms = boot_ms + median_low(self._epochs_ms) if self._epochs_ms else wall_ms
        if now_ms < EARLIEST_S * 1_000:
            raise CompareError(
                "the terminal's clock was never set",
                code=Reason.CLOCK,
                fix=Text("fix.clock_never_set"),
            )
        return now_ms // 1_000
