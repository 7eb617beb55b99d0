"""What keeps a terminal from hammering the API: a local rate limit and a circuit breaker. Pure.

The breaker opens after several server faults in a row. While it is open, questions fail at once with the last
fault's reason, except for one probe per pause and the first question of each verification: an API that is
healthy again serves the next payer. Any answer of the API that is not a fault closes the breaker.
"""

from __future__ import annotations

from agent.core.rate import TokenBucket
from agent.core.reasons import Reason
from agent.errors import CompareError, Retry

FAULTS_TO_OPEN = 5
PAUSE_MS = 5_000
RATE_PER_S, BURST = 5.0, 20  # far above one verification's needs, below every documented limit

_FAULTS = frozenset({Reason.COMPARE_UNREACHABLE, Reason.COMPARE_FAILED, Reason.COMPARE_MALFORMED})


class CircuitBreaker:
    """Times in milliseconds on one monotonic clock."""

    def __init__(self, now_ms: int) -> None:
        self._bucket = TokenBucket(RATE_PER_S, BURST, now_ms / 1e3)
        self._faults = 0
        self._last_code: str | None = None  # the code alone: an error holds on to its question's pictures
        self._open_until_ms = now_ms

    def admit(self, now_ms: int, *, is_first: bool = False) -> None:
        """Raises ``CompareError`` instead of letting a question out; its ``retry`` is backoff.

        ``is_first``: the first question of a verification, which an open breaker lets out as a probe.
        """
        if self._last_code is not None and self._faults >= FAULTS_TO_OPEN:
            if now_ms < self._open_until_ms and not is_first:
                raise CompareError(
                    f"not asked: {self._faults} faults in a row", code=self._last_code, retry=Retry.BACKOFF
                )
            self._open_until_ms = now_ms + PAUSE_MS  # one probe; the next one only after another pause
        if not self._bucket.take(now_ms / 1e3):
            raise CompareError(
                "not asked: the local rate limit", code=Reason.COMPARE_BUSY, retry=Retry.BACKOFF
            )

    def answered(self) -> None:
        self._faults = 0

    def failed(self, error: CompareError, now_ms: int) -> None:
        if error.code not in _FAULTS:
            self.answered()
            return
        self._faults += 1
        self._last_code = error.code
        self._open_until_ms = now_ms + PAUSE_MS
