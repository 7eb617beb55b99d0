"""Is the terminal's wall clock synchronised? What the kernel says, as ``timedatectl`` asks it."""

from __future__ import annotations

import ctypes

_TIMEX_BYTES = 512  # struct timex is about 208 bytes on 64-bit Linux; the kernel writes no more than its own
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


def is_synchronised() -> bool | None:
    """What adjtimex(2) says, read only; None where it cannot be asked. Takes microseconds."""
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != _TIME_ERROR
