"""Expiry level of a certificate. Pure: the times and the clock are arguments."""

from enum import StrEnum
from typing import assert_never

from agent.health.condition import Condition
from agent.health.conditions_mqtt import CERTIFICATE_ENDED, CERTIFICATE_ENDS_SOON, CERTIFICATE_ENDS_THIS_WEEK

DAY_MS = 86_400_000
SOON_MS = 30 * DAY_MS  # time to sign a new certificate and to visit the terminal
THIS_WEEK_MS = 7 * DAY_MS
EXPIRY_CONDITIONS = (CERTIFICATE_ENDS_SOON, CERTIFICATE_ENDS_THIS_WEEK, CERTIFICATE_ENDED)
"""At most one of these is active."""


class ExpiryLevel(StrEnum):
    FAR = "far"
    SOON = "soon"
    THIS_WEEK = "this_week"
    ENDED = "ended"

    @property
    def condition(self) -> Condition | None:
        """The condition of the terminal's own certificate at this level; None while the end is far."""
        match self:
            case ExpiryLevel.FAR:
                return None
            case ExpiryLevel.SOON:
                return CERTIFICATE_ENDS_SOON
            case ExpiryLevel.THIS_WEEK:
                return CERTIFICATE_ENDS_THIS_WEEK
            case ExpiryLevel.ENDED:
                return CERTIFICATE_ENDED
            case _:
                assert_never(self)


def expiry_level(ends_unix_s: int, unix_ms: int) -> ExpiryLevel:
    """The level at ``unix_ms``. Exactly 30 and 7 days before the end belong to the nearer level.

    At the end itself the certificate has ended.
    """
    left_ms = ends_unix_s * 1_000 - unix_ms
    if left_ms <= 0:
        return ExpiryLevel.ENDED
    if left_ms <= THIS_WEEK_MS:
        return ExpiryLevel.THIS_WEEK
    return ExpiryLevel.SOON if left_ms <= SOON_MS else ExpiryLevel.FAR


def days_left(ends_unix_s: int, unix_ms: int) -> int:
    """Whole days: 0 on the last day, negative after the end."""
    return (ends_unix_s * 1_000 - unix_ms) // DAY_MS
