"""What to do with an arriving request: a pure decision, made once, in one order.

1. A retained request is an old sale's: refused.
2. A known id (the till's repeat after a lost answer or a restart) is checked before everything that may have
   changed since: the same bytes get the stored result again, never a second paid call; other bytes conflict.
3. A terminal that is stopping or not ready takes nothing new.
4. A request of another epoch was meant for another boot: stale. So is one whose time is already up.
5. Consent and the form of the reference, as the operator configured them.
6. One verification at a time; then the till's rate limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.ports import Asked, Claimed, StoredResult
from agent.core.reasons import Refusal


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


def admit(asked: Asked, known: Claimed | None, now: Situation) -> Admission:
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
    if request.epoch != now.epoch:
        return Refuse(Refusal.REQUEST_STALE, "the epoch is not the one in state")
    if request.deadline_ms <= now.now_ms:
        return Refuse(Refusal.REQUEST_STALE, "its time is up")
    if now.consent_required and not request.consent_ref:
        return Refuse(Refusal.CONSENT_MISSING, "consent_ref is required here")
    if request.reference.image is not None and not now.inline_reference:
        return Refuse(Refusal.REQUEST_MALFORMED, "reference.image_b64 is not allowed here, use reference.url")
    if now.busy:
        return Refuse(Refusal.BUSY, "another verification is running")
    if not now.rate_ok:
        return Refuse(Refusal.RATE_LIMITED, "too many requests from this till")
    return Admit()


def _known(asked: Asked, known: Claimed) -> Admission:
    if known.payload_sha256 != asked.request.payload_sha256:
        return Refuse(Refusal.ID_CONFLICT, "this request_id was used with other bytes")
    return Ignore() if known.result is None else Replay(known.result)
