"""Token buckets: a burst at once, then a constant rate. Pure: the caller passes the time."""


class SenderBuckets:
    """One token bucket per sender, for at most ``senders_max`` senders.

    The least recently active is removed first.
    """

    def __init__(self, per_minute: float, burst: int, senders_max: int = 256) -> None:
        self._rate_per_s = per_minute / 60
        self._burst = burst
        self._senders_max = senders_max
        self._buckets: dict[str, TokenBucket] = {}

    def __contains__(self, sender: str) -> bool:
        return sender in self._buckets

    def forget(self, sender: str) -> None:
        """Remove the bucket of this sender, if there is one."""
        self._buckets.pop(sender, None)

    def take(self, sender: str, now_s: float) -> bool:
        """Take one token of this sender; False without a token."""
        bucket = self._buckets.pop(sender, None) or TokenBucket(self._rate_per_s, self._burst, now_s)
        self._buckets[sender] = bucket  # the newest is last
        while len(self._buckets) > self._senders_max:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take(now_s)


class TokenBucket:
    """``burst`` tokens at the start, refilled at ``rate_per_s``. Times are seconds of one monotonic clock."""

    def __init__(self, rate_per_s: float, burst: int, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one token; False without a token. A clock that moved backwards adds no tokens."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
