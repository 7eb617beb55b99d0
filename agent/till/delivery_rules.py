"""What to do next with a stored result: the rule, pure. Time and history enter as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from agent.core.ports import StoredResult

RESEND_FOR_MS = 600_000  # a till that was away that long asks again by request id
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 1_000, 60_000
CUTS_MAX = 2  # one cut is the network's; a second one may be the broker's answer to this very message


class Next(Enum):
    SEND = auto()
    WAIT = auto()
    NOTIFY = auto()  # a match whose time is up: the till gets ``result_expired`` instead, the record stays
    EXPIRE = auto()  # no acknowledgement came for too long


@dataclass(frozen=True, slots=True)
class Tries:
    """How often a result was sent, and when last (boot clock). ``cuts``: connections that ended after it."""

    first_ms: int
    sent: int = 0
    last_ms: int = 0
    cuts: int = 0
    expired: bool = False  # what is sent is the event ``result_expired``; the pauses began again with it

    def again(self, at_ms: int, *, cut: bool = False) -> Tries:
        """``cut``: the connection ended before the broker answered this sending."""
        return replace(self, sent=self.sent + 1, last_ms=at_ms, cuts=self.cuts + 1 if cut else 0)

    def reconnected(self) -> Tries:
        """Due at once, unless the connection ended twice in a row after this result: then the pause stays."""
        return self if self.cuts >= CUTS_MAX else replace(self, sent=0)

    def replaced_by_event(self) -> Tries:
        """From now on the event ``result_expired`` is sent, the first time at once; the ten minutes go on."""
        return replace(self, sent=0, cuts=0, expired=True)


def pause_ms(sent: int) -> int:
    """Pause after the n-th sending: 1, 2, 4 … 60 s."""
    return int(min(FIRST_PAUSE_MS * 2 ** max(0, sent - 1), LONGEST_PAUSE_MS))


def next_step(stored: StoredResult, tries: Tries, now_ms: int, margin_ms: int) -> Next:
    """Before every publish, re-sends included: a match needs ``margin_ms`` left of the till's own time.

    A match with less is never sent as a match again: ``result_expired`` takes its place until it is
    acknowledged or the ten minutes are over.
    """
    if now_ms - tries.first_ms >= RESEND_FOR_MS:
        return Next.EXPIRE
    late = stored.is_match and stored.deadline_ms - now_ms < margin_ms
    if late and not tries.expired:
        return Next.NOTIFY
    if tries.sent and now_ms - tries.last_ms < pause_ms(tries.sent):
        return Next.WAIT
    return Next.NOTIFY if late else Next.SEND
