"""Admission of a request: a pure decision, made once per request, with the rules in this order.

1. A retained request belongs to an old sale. It is refused.
2. A known id is checked before every rule whose facts may have changed since. A till repeats a request after
   a lost answer or a restart. The same bytes get the stored result, never a second paid call. Other bytes are
   a conflict.
3. A terminal that is stopping accepts no new request.
4. A request is stale in each of these cases: its epoch is that of another process; its deadline has passed;
   it is older than its ttl; its send time is in the future; its age is unknown and an age is required. After
   a pause of this terminal a message expiry shows no age.
5. Consent and the form of the reference photo must be as the config requires.
6. Only one verification runs at a time. Then the rate limit of the till applies.
"""

from dataclasses import dataclass

from agent.core.ports import ClaimRecord, RequestReceived, StoredResult
from agent.core.reasons import Refusal

WRONG_EPOCH = "the epoch is not the one in state"
SENT_AHEAD_MAX_MS = 2_000  # how far a till's clock may be ahead of this terminal's clock


@dataclass(frozen=True, slots=True)
class AdmissionFacts:
    """The facts about the terminal at the time of the decision."""

    epoch: str
    now_ms: int

    is_stopping: bool = False
    is_busy: bool = False
    consent_required: bool = False
    inline_reference: bool = True
    is_rate_allowed: bool = True
    age_required: bool = False  # refuse a request without message expiry and without a usable send time


@dataclass(frozen=True, slots=True)
class Admit:
    """Claim the request, then verify."""


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Send the stored result again."""

    stored: StoredResult


@dataclass(frozen=True, slots=True)
class Ignore:
    """A verification of the same request is running: publish "accepted" again, start nothing."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Publish a ``refused`` event. ``detail``: the fault as an English sentence."""

    refusal: Refusal
    detail: str


Admission = Admit | SendAgain | Ignore | Refuse


def admit(received: RequestReceived, record: ClaimRecord | None, facts: AdmissionFacts) -> Admission:
    """Return exactly one of four decisions. A known id is never admitted again."""
    request = received.request
    if received.retained:
        return Refuse(Refusal.REQUEST_RETAINED, "requests must not be retained")
    if record is not None:
        return _answer_known_id(received, record)
    if facts.is_stopping:
        return Refuse(Refusal.STOPPING, "the terminal is stopping")

    stale = _stale_detail(received, facts)
    if stale:
        return Refuse(Refusal.REQUEST_STALE, stale)
    if facts.consent_required and not request.consent_ref:
        return Refuse(Refusal.CONSENT_MISSING, "consent_ref is required here")
    if request.reference.image is not None and not facts.inline_reference:
        return Refuse(Refusal.REQUEST_MALFORMED, "reference.image_b64 is not allowed here, use reference.url")
    if facts.is_busy:
        return Refuse(Refusal.BUSY, "another verification is running")
    if not facts.is_rate_allowed:
        return Refuse(Refusal.RATE_LIMITED, "too many requests from this till")
    return Admit()


def _stale_detail(received: RequestReceived, facts: AdmissionFacts) -> str:
    """Why the request is stale, as a sentence; empty for a current request.

    A broker may hold a request without an age and without message expiry for any time. The age is unknown
    when the request has no ``sent_at_ms``, or when the clock of this terminal is not synchronised. After a
    pause of this terminal the message expiry shows no age either: it does not include the time in which the
    request waited unread.
    """
    request = received.request
    age_ms = request.age_ms
    if request.epoch != facts.epoch:
        return WRONG_EPOCH
    if age_ms is None and received.paused_ms and facts.age_required:
        return (
            f"its age is unknown: this terminal was paused for {received.paused_ms} ms, and the request has"
            " no sent_at_ms that a synchronised clock can check"
        )
    if age_ms is None and not request.expires and facts.age_required:
        return (
            "its age is unknown: no expiry within ttl_ms, no sent_at_ms that a synchronised clock can check"
        )
    if age_ms is not None and age_ms >= request.ttl_ms:
        return f"sent_at_ms is {age_ms} ms old by this terminal's clock, ttl_ms is {request.ttl_ms}"
    if age_ms is not None and age_ms < -SENT_AHEAD_MAX_MS:
        return f"sent_at_ms is {-age_ms} ms ahead of this terminal's clock, at most {SENT_AHEAD_MAX_MS}"
    return "its time is up" if request.deadline_ms <= facts.now_ms else ""


def _answer_known_id(received: RequestReceived, record: ClaimRecord) -> Admission:
    if record.is_forgotten:
        return Refuse(Refusal.REQUEST_STALE, "this request_id was answered, and its record is deleted")
    if record.payload_sha256 != received.request.payload_sha256:
        return Refuse(Refusal.ID_CONFLICT, "this request_id was used with other bytes")
    return Ignore() if record.result is None else SendAgain(record.result)
