"""Circuit breaker and local rate limit of API calls. Pure.

The breaker opens after ``FAULTS_TO_OPEN`` server faults in a row. While the breaker is open, a call fails at
once with the reason of the last fault. Two kinds of calls still pass: one probe per pause, and the first call
of each verification, so that a recovered API serves the next payer. Every answer that is no fault closes the
breaker.
"""

from agent.core.rate import TokenBucket
from agent.core.reasons import Reason
from agent.errors import CompareError, CompareSlow, Retry
from agent.texts import Text

FAULTS_TO_OPEN = 5
PAUSE_MS = 5_000
RATE_PER_S, BURST = 5.0, 20  # far above the calls of one verification, below every documented limit

_FAULTS = frozenset({Reason.COMPARE_UNREACHABLE, Reason.COMPARE_FAILED, Reason.COMPARE_MALFORMED})


class CircuitBreaker:
    """Times in milliseconds on one monotonic clock."""

    def __init__(self, now_ms: int) -> None:
        self._bucket = TokenBucket(RATE_PER_S, BURST, now_ms / 1e3)
        self._faults = 0
        self._last_code: str | None = None  # not the error: its traceback refers to the pictures
        self._last_was_slow = False
        self._open_until_ms = now_ms

    def admit(self, now_ms: int, *, is_first: bool = False) -> None:
        """Permit one call, or raise ``CompareError`` with ``retry`` = backoff.

        An error after a slow call is ``CompareSlow``.

        ``is_first``: the first call of a verification, which passes an open breaker as a probe.
        """
        if self._last_code is not None and self._faults >= FAULTS_TO_OPEN:
            if now_ms < self._open_until_ms and not is_first:
                why = Text("detail.call_withheld", faults=self._faults)
                kind = CompareSlow if self._last_was_slow else CompareError
                raise kind(why, code=self._last_code, retry=Retry.BACKOFF)
            self._open_until_ms = now_ms + PAUSE_MS  # the next probe passes after another pause
        if not self._bucket.take(now_ms / 1e3):
            why = Text("detail.call_rate")
            raise CompareError(why, code=Reason.COMPARE_BUSY, retry=Retry.BACKOFF)

    def answered(self) -> None:
        """Record an answer that is no server fault."""
        self._faults = 0

    def failed(self, error: CompareError, now_ms: int) -> None:
        """Record a failed call. Only ``compare_unreachable``, ``_failed`` and ``_malformed`` are faults."""
        if error.code in _FAULTS:
            self._faults += 1
            self._last_code, self._last_was_slow = error.code, isinstance(error, CompareSlow)
            self._open_until_ms = now_ms + PAUSE_MS
        else:
            self.answered()
