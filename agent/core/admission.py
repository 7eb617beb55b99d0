"""What to do with an arriving request: a pure decision, made once, in one order.

1. A retained request is an old sale's: refused.
2. A known id (the till's repeat after a lost answer or a restart) is checked before everything that may have
   changed since: the same bytes get the stored result again, never a second paid call; other bytes conflict.
3. A terminal that is stopping or not ready takes nothing new.
4. A request of another epoch was meant for another boot: stale. So is one whose age cannot be determined
   where that is required, one that is older than its ttl or sent in the future, and one whose time is up.
5. Consent and the form of the reference, as the operator configured them.
6. One verification at a time; then the till's rate limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.model import Request
from agent.core.ports import Claimed, RequestReceived, StoredResult
from agent.core.reasons import Refusal

WRONG_EPOCH = "the epoch is not the one in state"
SENT_AHEAD_MAX_MS = 2_000  # how far a till's clock may be ahead of this terminal's clock


@dataclass(frozen=True, slots=True)
class Situation:
    """The terminal at the moment of the decision."""

    epoch: str
    now_ms: int
    ready: bool = True
    stopping: bool = False
    busy: bool = False
    consent_required: bool = False
    inline_reference: bool = True
    rate_ok: bool = True
    age_required: bool = False  # refuse a request without message expiry and without a usable send time


@dataclass(frozen=True, slots=True)
class Admit:
    """Claim it, then verify."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Send these stored bytes again."""

    stored: StoredResult


@dataclass(frozen=True, slots=True)
class Ignore:
    """The same request is being worked on: say "accepted" again, do nothing twice."""


@dataclass(frozen=True, slots=True)
class Refuse:
    refusal: Refusal
    detail: str


Admission = Admit | Replay | Ignore | Refuse


def admit(asked: RequestReceived, known: Claimed | None, now: Situation) -> Admission:
    """Exactly one of four answers; a known id is never admitted again."""
    request = asked.request
    if asked.retained:
        return Refuse(Refusal.REQUEST_RETAINED, "requests must not be retained")
    if known is not None:
        return _known(asked, known)
    if now.stopping:
        return Refuse(Refusal.STOPPING, "the terminal is stopping")
    if not now.ready:
        return Refuse(Refusal.NOT_READY, "the terminal is not ready")
    stale = _stale(request, now)
    if stale:
        return Refuse(Refusal.REQUEST_STALE, stale)
    if now.consent_required and not request.consent_ref:
        return Refuse(Refusal.CONSENT_MISSING, "consent_ref is required here")
    if request.reference.image is not None and not now.inline_reference:
        return Refuse(Refusal.REQUEST_MALFORMED, "reference.image_b64 is not allowed here, use reference.url")
    if now.busy:
        return Refuse(Refusal.BUSY, "another verification is running")
    if not now.rate_ok:
        return Refuse(Refusal.RATE_LIMITED, "too many requests from this till")
    return Admit()


def _stale(request: Request, now: Situation) -> str:
    """Why the request is stale, in words; empty: it is not.

    Without an age and without message expiry, a broker may have held the request for any time. The age is
    unknown where the request has no ``sent_at_ms``, and where this terminal's clock is not synchronised.
    """
    age_ms = request.age_ms
    if request.epoch != now.epoch:
        return WRONG_EPOCH
    if age_ms is None and not request.expires and now.age_required:
        return (
            "its age is unknown: no expiry within ttl_ms, no sent_at_ms that a synchronised clock can check"
        )
    if age_ms is not None and age_ms >= request.ttl_ms:
        return f"sent_at_ms is {age_ms} ms old by this terminal's clock, ttl_ms is {request.ttl_ms}"
    if age_ms is not None and age_ms < -SENT_AHEAD_MAX_MS:
        return f"sent_at_ms is {-age_ms} ms ahead of this terminal's clock, at most {SENT_AHEAD_MAX_MS}"
    return "its time is up" if request.deadline_ms <= now.now_ms else ""


def _known(asked: RequestReceived, known: Claimed) -> Admission:
    if known.forgotten:
        return Refuse(Refusal.REQUEST_STALE, "this request_id was answered, and its record is deleted")
    if known.payload_sha256 != asked.request.payload_sha256:
        return Refuse(Refusal.ID_CONFLICT, "this request_id was used with other bytes")
    return Ignore() if known.result is None else Replay(known.result)
