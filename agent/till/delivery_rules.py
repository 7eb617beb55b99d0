"""When a stored result is published, published again, or replaced by ``result_expired``. Pure: no clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from agent.core.ports import StoredResult

RESEND_FOR_MS = 600_000  # after that time a till requests the result again by request id
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 1_000, 60_000
CUTS_MAX = 2  # one cut can be a network fault; a second cut can be caused by this message


class DeliveryStep(Enum):
    """The next step for one result."""

    SEND = auto()
    WAIT = auto()
    NOTIFY = auto()  # a match whose time is over: publish ``result_expired`` instead, keep the record
    EXPIRE = auto()  # no acknowledgement within ``RESEND_FOR_MS``


@dataclass(frozen=True, slots=True)
class PublishHistory:
    """The publishes of one result so far. Times are on the boot clock; a result starts with none.

    ``first_ms``: when the delivery began. ``cuts``: connections in a row that ended before the PUBACK.
    """

    first_ms: int
    sent: int = 0
    last_ms: int = 0
    cuts: int = 0
    accepted: int = 0  # by the broker, of ``sent``
    is_unacked: bool = False  # counted by ``Acknowledgements``
    is_expired: bool = False  # the event ``result_expired`` is published; its pauses started anew

    def after_publish(self, at_ms: int, *, is_accepted: bool = True, cut: bool = False) -> PublishHistory:
        """Record a publish. ``is_accepted``: by the broker. ``cut``: the connection ended before PUBACK."""
        accepted, cuts = self.accepted + is_accepted, self.cuts + 1 if cut else 0
        return replace(self, sent=self.sent + 1, last_ms=at_ms, accepted=accepted, cuts=cuts)

    def after_reconnect(self) -> PublishHistory:
        """Due at once, unless the connection ended ``CUTS_MAX`` times in a row after this result."""
        return self if self.cuts >= CUTS_MAX else replace(self, sent=0, accepted=0)

    def after_request(self, at_ms: int) -> PublishHistory:
        """As ``after_reconnect``, and for ten more minutes: a till asks for the result again."""
        return self if self.cuts >= CUTS_MAX else replace(self, sent=0, accepted=0, first_ms=at_ms)

    def after_expiry(self) -> PublishHistory:
        """Publish ``result_expired`` from now on, first at once. ``first_ms`` does not change."""
        return replace(self, sent=0, accepted=0, cuts=0, is_expired=True)


def pause_ms(sent: int) -> int:
    """Pause after the n-th publish in ms: 1, 2, 4 … 60 s."""
    return int(min(FIRST_PAUSE_MS * 2 ** max(0, sent - 1), LONGEST_PAUSE_MS))


def next_step(stored: StoredResult, history: PublishHistory, now_ms: int, margin_ms: int) -> DeliveryStep:
    """The step that is due now. To be called before every publish, also before repeats.

    A match is published only while at least ``margin_ms`` is left until its deadline. Later
    ``result_expired`` replaces the match until the acknowledgement, or until ``RESEND_FOR_MS`` is over.
    """
    if now_ms - history.first_ms >= RESEND_FOR_MS:
        return DeliveryStep.EXPIRE
    late = stored.is_match and stored.deadline_ms - now_ms < margin_ms
    if late and not history.is_expired:
        return DeliveryStep.NOTIFY
    if history.sent and now_ms - history.last_ms < pause_ms(history.sent):
        return DeliveryStep.WAIT
    return DeliveryStep.NOTIFY if late else DeliveryStep.SEND
