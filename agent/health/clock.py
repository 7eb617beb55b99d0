"""Synchronisation state of the wall clock, from the kernel, as ``timedatectl`` reads it."""

from __future__ import annotations

import ctypes
from pathlib import Path

EARLIEST_MS = 1_767_225_600_000  # 2026-01-01, before the first release: an earlier clock was never set
_TIMEX_BYTES = 512  # struct timex has about 208 bytes on 64-bit Linux; the kernel writes that struct only
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
# systemd-timesyncd(8): created at the first synchronisation
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")


def is_synchronised() -> bool | None:
    """Whether the clock is synchronised; None while unknown. Takes microseconds and changes nothing.

    The system call filter of the unit may forbid adjtimex(2). Then the mark of systemd-timesyncd decides, and
    only if the mark exists, because another time service creates no mark.
    """
    state = _adjtimex()
    if state is not None:
        return state != _TIME_ERROR
    return True if _TIMESYNCD.exists() else None


def _adjtimex() -> int | None:
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else int(state)
