"""A token bucket: so many at once, so many per second over time. Pure: the caller says what time it is."""

from __future__ import annotations


class TokenBucket:
    """``burst`` tokens at first, refilled at ``rate_per_s``; times in seconds on any one monotonic clock."""

    def __init__(self, rate_per_s: float, burst: int, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one token; False when there is none. A clock that went back refills nothing."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
