"""Admission: example requests with their decisions, then every combination."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.admission import AdmissionFacts, Admit, Ignore, Refuse, SendAgain, admit
from agent.core.model import Reference, Request
from agent.core.ports import ClaimRecord, RequestReceived, StoredResult
from agent.core.reasons import Refusal

REQUEST = Request(
    request_id="r-1",
    till="till-1",
    transaction_id="sale",
    nonce="n",
    epoch="now",
    ttl_ms=8_000,
    reference=Reference(image=b"photo", sha256="0" * 64),
    payload_sha256="a" * 64,
    received_ms=1_000,
    budget_ms=8_000,
)
NOW = AdmissionFacts(epoch="now", now_ms=1_001)
STORED = StoredResult("till-1", "r-1", "result", 1, b"{}", False, 9_000)
SETTLED = ClaimRecord(REQUEST.payload_sha256, STORED)
WORKING = ClaimRecord(REQUEST.payload_sha256, None)
OTHER_BYTES = ClaimRecord("b" * 64, STORED)
FORGOTTEN = ClaimRecord("", None, is_forgotten=True)
STRICT = replace(NOW, age_required=True)


def refused(refusal: Refusal) -> object:
    class Any:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Refuse) and other.refusal is refusal and bool(other.detail)

        __hash__ = None  # type: ignore[assignment] # equality is all this is for

    return Any()


@pytest.mark.parametrize(
    ("received", "known", "now", "answer"),
    [
        pytest.param(RequestReceived(REQUEST), None, NOW, Admit(), id="a good request"),
        pytest.param(
            RequestReceived(REQUEST, paused_ms=5_000),
            None,
            NOW,
            Admit(),
            id="after a pause, where no age is required",
        ),
        pytest.param(
            RequestReceived(REQUEST, True), None, NOW, refused(Refusal.REQUEST_RETAINED), id="retained"
        ),
        pytest.param(
            RequestReceived(REQUEST, True),
            SETTLED,
            NOW,
            refused(Refusal.REQUEST_RETAINED),
            id="retained and known",
        ),
        pytest.param(RequestReceived(REQUEST), SETTLED, NOW, SendAgain(STORED), id="the same bytes again"),
        pytest.param(
            RequestReceived(REQUEST),
            SETTLED,
            replace(NOW, epoch="next boot"),
            SendAgain(STORED),
            id="a repeat after a restart",
        ),
        pytest.param(
            RequestReceived(REQUEST),
            SETTLED,
            replace(NOW, is_busy=True),
            SendAgain(STORED),
            id="a repeat while busy",
        ),
        pytest.param(
            RequestReceived(REQUEST), WORKING, NOW, Ignore(), id="a repeat while it is being worked on"
        ),
        pytest.param(
            RequestReceived(REQUEST),
            OTHER_BYTES,
            NOW,
            refused(Refusal.ID_CONFLICT),
            id="same id, other bytes",
        ),
        pytest.param(
            RequestReceived(REQUEST),
            None,
            replace(NOW, is_stopping=True),
            refused(Refusal.STOPPING),
            id="stopping",
        ),
        pytest.param(
            RequestReceived(REQUEST),
            None,
            replace(NOW, epoch="x"),
            refused(Refusal.REQUEST_STALE),
            id="old epoch",
        ),
        pytest.param(
            RequestReceived(REQUEST),
            None,
            replace(NOW, now_ms=9_000),
            refused(Refusal.REQUEST_STALE),
            id="too late",
        ),
        pytest.param(
            RequestReceived(REQUEST), None, STRICT, refused(Refusal.REQUEST_STALE), id="its age is unknown"
        ),
        pytest.param(RequestReceived(replace(REQUEST, expires=True)), None, STRICT, Admit(), id="it expires"),
        pytest.param(RequestReceived(replace(REQUEST, age_ms=100)), None, STRICT, Admit(), id="it is young"),
        pytest.param(
            RequestReceived(replace(REQUEST, expires=True), paused_ms=12_000),
            None,
            STRICT,
            refused(Refusal.REQUEST_STALE),
            id="its expiry ran out unread during a pause",
        ),
        pytest.param(
            RequestReceived(replace(REQUEST, expires=True, age_ms=100), paused_ms=12_000),
            None,
            STRICT,
            Admit(),
            id="a pause, and it is young",
        ),
        pytest.param(
            RequestReceived(replace(REQUEST, expires=True), paused_ms=12_000),
            SETTLED,
            STRICT,
            SendAgain(STORED),
            id="a repeat after a pause",
        ),
        pytest.param(
            RequestReceived(replace(REQUEST, age_ms=8_000)),
            None,
            NOW,
            refused(Refusal.REQUEST_STALE),
            id="older than ttl",
        ),
        pytest.param(
            RequestReceived(replace(REQUEST, age_ms=24_000, expires=True)),
            None,
            NOW,
            refused(Refusal.REQUEST_STALE),
            id="held for 24 s, with message expiry",
        ),
        pytest.param(
            RequestReceived(replace(REQUEST, age_ms=-2_000)), None, NOW, Admit(), id="a clock that is ahead"
        ),
        pytest.param(
            RequestReceived(replace(REQUEST, age_ms=-2_001)),
            None,
            NOW,
            refused(Refusal.REQUEST_STALE),
            id="of the future",
        ),
        pytest.param(
            RequestReceived(replace(REQUEST, age_ms=90_000)),
            SETTLED,
            STRICT,
            SendAgain(STORED),
            id="an old repeat",
        ),
        pytest.param(
            RequestReceived(replace(REQUEST, expires=True)),
            FORGOTTEN,
            STRICT,
            refused(Refusal.REQUEST_STALE),
            id="its record is deleted",
        ),
        pytest.param(
            RequestReceived(REQUEST),
            None,
            replace(NOW, consent_required=True),
            refused(Refusal.CONSENT_MISSING),
            id="consent",
        ),
        pytest.param(
            RequestReceived(replace(REQUEST, consent_ref="c-1")),
            None,
            replace(NOW, consent_required=True),
            Admit(),
            id="consented",
        ),
        pytest.param(
            RequestReceived(REQUEST),
            None,
            replace(NOW, inline_reference=False),
            refused(Refusal.REQUEST_MALFORMED),
            id="inline",
        ),
        pytest.param(
            RequestReceived(REQUEST), None, replace(NOW, is_busy=True), refused(Refusal.BUSY), id="busy"
        ),
        pytest.param(
            RequestReceived(REQUEST),
            None,
            replace(NOW, is_rate_allowed=False),
            refused(Refusal.RATE_LIMITED),
            id="rate",
        ),
    ],
)
def test_admit_gives_the_decision_of_the_table(
    received: RequestReceived, known: ClaimRecord | None, now: AdmissionFacts, answer: object
) -> None:
    assert answer == admit(received, known, now)


@given(
    retained=st.booleans(),
    known=st.sampled_from([None, SETTLED, WORKING, OTHER_BYTES, FORGOTTEN]),
    now=st.builds(
        AdmissionFacts,
        epoch=st.sampled_from(["now", "then"]),
        now_ms=st.integers(0, 20_000),
        is_stopping=st.booleans(),
        is_busy=st.booleans(),
        consent_required=st.booleans(),
        inline_reference=st.booleans(),
        is_rate_allowed=st.booleans(),
    ),
)
def test_every_combination_is_answered_and_a_known_id_is_never_admitted_again(
    retained: bool, known: ClaimRecord | None, now: AdmissionFacts
) -> None:
    answer = admit(RequestReceived(REQUEST, retained), known, now)
    if isinstance(answer, Admit):
        assert known is None and not retained and not now.is_busy and not now.is_stopping
        assert now.epoch == REQUEST.epoch and now.now_ms < REQUEST.deadline_ms
    if isinstance(answer, SendAgain):
        assert known is SETTLED and answer.stored is STORED
