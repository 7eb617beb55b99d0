"""Is the terminal's wall clock synchronised? What the kernel says, as ``timedatectl`` asks it."""

from __future__ import annotations

import ctypes
from pathlib import Path

_TIMEX_BYTES = 512  # struct timex is about 208 bytes on 64-bit Linux; the kernel writes no more than its own
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")  # systemd-timesyncd(8): made at the first success


def is_synchronised() -> bool | None:
    """What adjtimex(2) says, read only; None where it cannot be asked. Takes microseconds.

    Our own unit may not ask (its system calls are filtered): then timesyncd's mark counts, and only its
    presence; another time service leaves none.
    """
    answer = _adjtimex()
    if answer is not None:
        return answer != _TIME_ERROR
    return True if _TIMESYNCD.exists() else None


def _adjtimex() -> int | None:
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else int(answer)
