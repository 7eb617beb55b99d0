"""How near a certificate's end is. Pure: its times and the clock come as data."""

from __future__ import annotations

from enum import StrEnum

DAY_MS = 86_400_000
SOON_MS = 30 * DAY_MS  # time for whoever signs it, and for a visit
THIS_WEEK_MS = 7 * DAY_MS


class ExpiryLevel(StrEnum):
    """The values but the first are the conditions' codes, one of which holds at a time."""

    FAR = "far"
    SOON = "certificate_ends_soon"
    THIS_WEEK = "certificate_ends_this_week"
    ENDED = "certificate_ended"


CODES = tuple(each.value for each in ExpiryLevel if each is not ExpiryLevel.FAR)


def expiry_level(ends_unix_s: int, unix_ms: int) -> ExpiryLevel:
    """Exactly 30 and 7 days before the end belong to the nearer side; the end itself has ended."""
    left_ms = ends_unix_s * 1_000 - unix_ms
    if left_ms <= 0:
        return ExpiryLevel.ENDED
    if left_ms <= THIS_WEEK_MS:
        return ExpiryLevel.THIS_WEEK
    return ExpiryLevel.SOON if left_ms <= SOON_MS else ExpiryLevel.FAR


def days_left(ends_unix_s: int, unix_ms: int) -> int:
    """Whole days: 0 on the last one, negative when it has ended."""
    return (ends_unix_s * 1_000 - unix_ms) // DAY_MS
