"""The rule for the next step of a stored result. Pure: time and history are arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from agent.core.ports import StoredResult

RESEND_FOR_MS = 600_000  # after that time a till requests the result again by request id
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 1_000, 60_000
CUTS_MAX = 2  # one cut can be a network fault; a second cut can be caused by this message


class Next(Enum):
    SEND = auto()
    WAIT = auto()
    NOTIFY = auto()  # a match whose time is over: publish ``result_expired`` instead, keep the record
    EXPIRE = auto()  # no acknowledgement within ``RESEND_FOR_MS``


@dataclass(frozen=True, slots=True)
class Tries:
    """Publish history of a result (boot clock). ``cuts``: connections in a row that ended after a try."""

    first_ms: int
    sent: int = 0
    last_ms: int = 0
    cuts: int = 0
    expired: bool = False  # the event ``result_expired`` is published; its pauses started anew

    def again(self, at_ms: int, *, cut: bool = False) -> Tries:
        """Record a try. ``cut``: the connection ended before the PUBACK."""
        return replace(self, sent=self.sent + 1, last_ms=at_ms, cuts=self.cuts + 1 if cut else 0)

    def reconnected(self) -> Tries:
        """Due at once, unless the connection ended ``CUTS_MAX`` times in a row after this result."""
        return self if self.cuts >= CUTS_MAX else replace(self, sent=0)

    def replaced_by_event(self) -> Tries:
        """Publish ``result_expired`` from now on, first at once. ``first_ms`` does not change."""
        return replace(self, sent=0, cuts=0, expired=True)


def pause_ms(sent: int) -> int:
    """Pause after the n-th try in ms: 1, 2, 4 … 60 s."""
    return int(min(FIRST_PAUSE_MS * 2 ** max(0, sent - 1), LONGEST_PAUSE_MS))


def next_step(stored: StoredResult, tries: Tries, now_ms: int, margin_ms: int) -> Next:
    """Call before every publish, also before repeats.

    A match is published only while at least ``margin_ms`` is left until its deadline. Later
    ``result_expired`` replaces the match until the acknowledgement, or until ``RESEND_FOR_MS`` is over.
    """
    if now_ms - tries.first_ms >= RESEND_FOR_MS:
        return Next.EXPIRE
    late = stored.is_match and stored.deadline_ms - now_ms < margin_ms
    if late and not tries.expired:
        return Next.NOTIFY
    if tries.sent and now_ms - tries.last_ms < pause_ms(tries.sent):
        return Next.WAIT
    return Next.NOTIFY if late else Next.SEND
