"""Rate limits for inbound messages. The topic decides, before a message is parsed or queued.

``TillRateLimits.admits`` runs on paho's network thread: a flood costs one table lookup a message and never
reaches the event loop. A till is known if it has a trusted key, or if one of its requests was accepted. Each
known till has a token bucket of its own. The other tills share a second bucket and one queue of the inbox,
because a sender can invent a new till id for each message. A readable message alone makes no till known: a
sender could push the known tills out of the bounded table. One verification runs at a time, so accepted
requests are few.

All tables are bounded; the id without messages for the longest time is removed first. A flood of invented ids
can therefore block a till without a trusted key before its first accepted request. A broker that binds the
till id to the certificate prevents that flood.
"""

import threading
from collections.abc import Callable

from agent.core.rate import SenderBuckets, TokenBucket
from agent.messages.topics import Topics

MESSAGES_PER_REQUEST = 4  # the request, one repeat, its ack, a cancel
PER_S_MIN, BURST = 8.0, 100  # of one till
NEW_PER_S, NEW_BURST = 20.0, 200  # of all unknown tills together
TILLS_MAX = 256
OTHER_PER_S, OTHER_BURST = 2.0, 20  # own ``state``; all operators together
ANSWERS_PER_S, ANSWERS_BURST = 2.0, 20  # to one till: refusals of unreadable messages; copies of ``state``
ALL_ANSWERS_PER_S, ALL_ANSWERS_BURST = 20.0, 100


class _AnswerLimits:
    """The rate limits of one kind of answer: to each till, and to all tills together."""

    def __init__(self, now_s: float) -> None:
        self._each = SenderBuckets(ANSWERS_PER_S * 60, ANSWERS_BURST, TILLS_MAX)
        self._all = TokenBucket(ALL_ANSWERS_PER_S, ALL_ANSWERS_BURST, now_s)

    def take(self, till: str, now_s: float) -> bool:
        return self._each.take(till, now_s) and self._all.take(now_s)


class TillRateLimits:
    """The token buckets of all senders. Safe to call from any thread.

    Args:
        now_s: returns monotonic seconds.
        requests_per_minute: the configured limit of one till; the bucket of all its messages is larger.
        has_trusted_key: whether a till has a trusted key. Called once for each new till id.

    Attributes:
        dropped: messages that were not admitted.
    """

    def __init__(
        self,
        topics: Topics,
        now_s: Callable[[], float],
        requests_per_minute: int,
        has_trusted_key: Callable[[str], bool] = lambda _till: False,
    ) -> None:
        self._topics, self._now_s, self._trusts = topics, now_s, has_trusted_key
        per_minute = max(PER_S_MIN * 60, requests_per_minute * MESSAGES_PER_REQUEST)
        self._known = SenderBuckets(per_minute, BURST, TILLS_MAX)
        self._new = SenderBuckets(per_minute, BURST, TILLS_MAX)
        self._all_new = TokenBucket(NEW_PER_S, NEW_BURST, now_s())
        self._state = TokenBucket(OTHER_PER_S, OTHER_BURST, now_s())
        self._operators = TokenBucket(OTHER_PER_S, OTHER_BURST, now_s())
        self._refusals, self._state_copies = _AnswerLimits(now_s()), _AnswerLimits(now_s())
        self._lock = threading.Lock()
        self.dropped = 0

    def admits(self, topic: str) -> bool:
        """Take one token of the sender in ``topic``; False: the message must be dropped without decoding."""
        sender = self._topics.read(topic)
        with self._lock:
            if sender is not None:
                admitted = self._take(sender[0])
            else:
                other = self._state if topic == self._topics.state else self._operators
                admitted = other.take(self._now_s())
            self.dropped += not admitted
            return admitted

    def mark_served(self, till: str) -> None:
        """A request of this till was accepted: from now on the till is known."""
        with self._lock:
            if till not in self._known:
                self._new.forget(till)
                self._known.take(till, self._now_s())

    def is_known(self, till: str) -> bool:
        with self._lock:
            return till in self._known

    def admits_refusal(self, till: str) -> bool:
        """Take one token for a ``refused`` event after an unreadable message; False: send no event."""
        with self._lock:
            return self._refusals.take(till, self._now_s())

    def admits_state_copy(self, till: str) -> bool:
        """Take one token for a copy of ``state``; False: send no copy."""
        with self._lock:
            return self._state_copies.take(till, self._now_s())

    def _take(self, till: str) -> bool:
        now_s = self._now_s()
        if till in self._known or (till not in self._new and self._has_key(till)):
            return self._known.take(till, now_s)
        return self._new.take(till, now_s) and self._all_new.take(now_s)

    def _has_key(self, till: str) -> bool:
        """False also when the keys cannot be read; the decoder then refuses the message."""
        try:
            return self._trusts(till)
        except OSError:
            return False
