"""The decoder returns one refusal code for each kind of hostile bytes and raises only ``Rejected``."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.model import Request
from agent.core.reasons import Refusal
from agent.messages.decode import DecodeRules, read_ack, read_cancel, read_request
from agent.messages.fields import Rejected
from tests.messages.payloads import PHOTO, PHOTO_SHA256, REQUEST_ID, payload, tree

RULES = DecodeRules(max_bytes=98_304, budget_max_ms=10_000)


def read(raw: bytes, rules: DecodeRules = RULES, expires_in_ms: int | None = None) -> Request:
    return read_request(raw, "till-1", rules, received_ms=1_000, expires_in_ms=expires_in_ms)


def refused(raw: bytes, rules: DecodeRules = RULES) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read(raw, rules)
    assert caught.value.detail
    return caught.value


def test_read_request_valid_returns_all_fields() -> None:
    request = read(
        payload(consent_ref="c-1", require=["liveness"], locale="zh-CN", unknown={"is": "ignored"})
    )
    assert (request.request_id, request.till, request.ttl_ms) == (REQUEST_ID, "till-1", 8_000)
    assert request.reference.image == PHOTO and request.reference.sha256 == PHOTO_SHA256
    assert (request.consent_ref, request.require, request.locale) == ("c-1", ("liveness",), "zh-CN")
    assert request.deadline_ms == 9_000


@pytest.mark.parametrize(
    ("ttl_ms", "expires_in_ms", "budget_ms"),
    [
        (8_000, None, 8_000),
        (60_000, None, 10_000),
        (8_000, 3_000, 3_000),
        (2_000, 9_000, 2_000),
        (8_000, 0, 1_000),
        (1_000, 0, 1_000),
    ],
    ids=[
        "the ttl of the till",
        "the maximum of the terminal",
        "the rest of the expiry",
        "a shorter ttl",
        "less than one second left",
        "the shortest ttl on a broker that rounds down",
    ],
)
def test_budget_is_the_shortest_of_three_limits(
    ttl_ms: int, expires_in_ms: int | None, budget_ms: int
) -> None:
    assert read(payload(ttl_ms=ttl_ms), expires_in_ms=expires_in_ms).budget_ms == budget_ms


@given(
    ttl_ms=st.integers(1_000, 10_000),
    delay_share=st.floats(0, 1, exclude_max=True),
    age_known=st.booleans(),
)
def test_an_expiry_in_whole_seconds_never_makes_a_request_with_time_left_stale(
    ttl_ms: int, delay_share: float, age_known: bool
) -> None:
    """``delay_share``: of ``ttl_ms``, between the till and the terminal. The broker rounds down."""
    delay_ms = int(ttl_ms * delay_share)
    expires_in_ms = (-(-ttl_ms // 1_000) * 1_000 - delay_ms) // 1_000 * 1_000
    rules = replace(RULES, wall_ms=lambda: 1_000_000 + delay_ms)
    sent = {"sent_at_ms": 1_000_000} if age_known else {}
    request = read(payload(ttl_ms=ttl_ms, **sent), rules, expires_in_ms)
    assert request.budget_ms > 0
    if age_known:
        assert request.budget_ms == ttl_ms - delay_ms, "the age is exact"
    else:
        assert request.expires, "the expiry shows that the request is not old"
        assert ttl_ms - delay_ms - 1_000 <= request.budget_ms <= ttl_ms - delay_ms + 1_000


def reference(**parts: Any) -> bytes:
    return payload(reference=parts)


MALFORMED = {
    "empty": b"",
    "not utf-8": b'{"schema": "\xff"}',
    "not json": b"{schema",
    "cut short": payload()[:-1],
    "an array": b"[]",
    "a number": b"7",
    "null": b"null",
    "nan": payload(ttl_ms=8_000).replace(b"8000", b"NaN"),
    "infinity": payload().replace(b"8000", b"-Infinity"),
    "a float out of range": payload().replace(b"8000", b"1e999"),
    "a huge integer": payload().replace(b"8000", b"9" * 5_000),
    "a key twice": payload()[:-1] + b', "till": "till-1"}',
    "deep nesting": b'{"a":' * 15_000 + b"1" + b"}" * 15_000,
    "deep arrays": b"[" * 50_000,
    "ttl is text": payload(ttl_ms="8000"),
    "ttl is a float": payload(ttl_ms=8000.5),
    "ttl is true": payload(ttl_ms=True),
    "ttl too short": payload(ttl_ms=999),
    "ttl too long": payload(ttl_ms=60_001),
    "no request_id": payload(request_id=None),
    "request_id no uuid": payload(request_id="1"),
    "request_id in capitals": payload(request_id=REQUEST_ID.upper()),
    "request_id in braces": payload(request_id="{" + REQUEST_ID + "}"),
    "another till's": payload(till="till-2"),
    "no nonce": payload(nonce=None),
    "a short nonce": payload(nonce="0" * 21),
    "a nonce with a newline": payload(nonce="0" * 22 + "\n"),
    "no epoch": payload(epoch=None),
    "epoch with control characters": payload(epoch="e\x00"),
    "transaction_id empty": payload(transaction_id=""),
    "transaction_id huge": payload(transaction_id="x" * 129),
    "consent_ref is a number": payload(consent_ref=1),
    "require is text": payload(require="liveness"),
    "require too long": payload(require=["x"] * 17),
    "require of numbers": payload(require=[1]),
    "crit unknown": payload(crit=["amount"]),
    "no reference": payload(reference=None),
    "reference is text": payload(reference="photo"),
    "reference both ways": reference(url="https://a/b", image_b64="AA==", sha256=PHOTO_SHA256),
    "reference neither way": reference(sha256=PHOTO_SHA256),
    "reference without sha256": reference(image_b64="AA=="),
    "sha256 in capitals": reference(url="https://a/b", sha256="A" * 64),
    "sha256 of another photo": reference(image_b64="AA==", sha256=PHOTO_SHA256),
    "not base64": reference(image_b64="!!!!", sha256=PHOTO_SHA256),
    "base64 with line breaks": reference(image_b64="AA\n==", sha256=PHOTO_SHA256),
    "photo too large": reference(image_b64="A" * 80_100, sha256=PHOTO_SHA256),
    "url with a newline": reference(url="https://a/\nb", sha256=PHOTO_SHA256),
    "url too long": reference(url="https://a/" + "b" * 2_048, sha256=PHOTO_SHA256),
    "url empty": reference(url="", sha256=PHOTO_SHA256),
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
def test_read_request_malformed_raises_request_malformed(raw: bytes) -> None:
    assert refused(raw).refusal is Refusal.REQUEST_MALFORMED


def test_rejected_has_the_request_id_when_readable() -> None:
    assert refused(payload(ttl_ms=1)).request_id == REQUEST_ID
    assert refused(b"{").request_id is None


def test_read_request_known_crit_is_accepted() -> None:
    assert read(payload(crit=["consent_ref", "require"])).request_id == REQUEST_ID


def test_read_request_too_large_is_refused_before_parsing() -> None:
    assert refused(b"{" * 98_305).refusal is Refusal.REQUEST_TOO_LARGE


@pytest.mark.parametrize("schema", [None, "facepay.request/2", "facepay.cancel/1", 1, ["facepay.request/1"]])
def test_read_request_other_schema_is_unsupported(schema: object) -> None:
    assert refused(payload(schema=schema)).refusal is Refusal.SCHEMA_UNSUPPORTED


class FixedTrust:
    """A key of every till, with a fixed verdict for all signatures."""

    def __init__(self, verdict: bool) -> None:
        self.verdict, self.verified = verdict, list[tuple[str, str, str, str]]()

    def has_key(self, till: str) -> bool:
        return True

    def verify(self, till: str, text: str, detached: str, kind: str) -> bool:
        self.verified.append((till, json.loads(text).get("till", ""), detached, kind))
        return self.verdict


def enveloped(kind: str = "request", **changes: Any) -> bytes:
    return json.dumps({kind: json.dumps(tree(**changes)), "jws": "e30..AAAA"}).encode()


@pytest.mark.parametrize(
    ("raw", "rules", "refusal"),
    [
        (payload(), DecodeRules(98_304, 10_000, signatures_required=True), Refusal.SIGNATURE_MISSING),
        (enveloped(), DecodeRules(98_304, 10_000, signatures_required=True), Refusal.SIGNATURE_INVALID),
        (enveloped(), DecodeRules(98_304, 10_000, True, FixedTrust(False)), Refusal.SIGNATURE_INVALID),
        (enveloped(), DecodeRules(98_304, 10_000, False, FixedTrust(False)), Refusal.SIGNATURE_INVALID),
        (enveloped("cancel"), DecodeRules(98_304, 10_000, True, FixedTrust(True)), Refusal.REQUEST_MALFORMED),
        (payload(), DecodeRules(98_304, 10_000, False, FixedTrust(True)), Refusal.SIGNATURE_MISSING),
    ],
    ids=[
        "unsigned",
        "no trusted key",
        "forged",
        "forged where not required",
        "another kind inside",
        "omitted by a till with a key",
    ],
)
def test_read_request_without_valid_signature_is_refused(
    raw: bytes, rules: DecodeRules, refusal: Refusal
) -> None:
    assert refused(raw, rules).refusal is refusal


def test_read_request_lone_surrogate_is_malformed() -> None:
    assert refused(b'{"request": "\\ud800", "jws": "x..y"}').refusal is Refusal.REQUEST_MALFORMED


def test_read_request_valid_signature_returns_the_signed_request() -> None:
    trust = FixedTrust(True)
    assert read(enveloped(), DecodeRules(98_304, 10_000, True, trust)).request_id == REQUEST_ID
    assert trust.verified == [("till-1", "till-1", "e30..AAAA", "request")]


def test_read_cancel_and_read_ack_return_the_id() -> None:
    cancel = json.dumps({"schema": "facepay.cancel/1", "request_id": REQUEST_ID}).encode()
    ack = json.dumps({"schema": "facepay.ack/1", "result_id": REQUEST_ID}).encode()
    assert read_cancel(cancel, "till-1", RULES) == read_ack(ack, "till-1", RULES) == REQUEST_ID
    with pytest.raises(Rejected):
        read_cancel(ack, "till-1", RULES)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=400), json_values.map(lambda value: json.dumps(value).encode())))
def test_readers_any_bytes_raise_only_rejected(raw: bytes) -> None:
    others = (lambda: read_cancel(raw, "till-1", RULES), lambda: read_ack(raw, "till-1", RULES))
    for reader in (lambda: read(raw), *others):
        with pytest.raises(Rejected):
            reader()


@given(name=st.sampled_from(sorted(tree())), value=json_values)
def test_read_request_any_field_value_is_accepted_or_rejected(name: str, value: object) -> None:
    try:
        request = read(json.dumps(tree() | {name: value}).encode())
    except Rejected:
        return
    assert request.till == "till-1" and 0 <= request.budget_ms <= 10_000


def test_read_request_hostile_bytes_use_bounded_memory() -> None:
    tracemalloc.start()
    for raw in MALFORMED.values():
        with pytest.raises(Rejected):
            read(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 1024 * 1024


# --- place and time of sending ---------------------------------------------------------------------------

PLACE = {"site": "shop", "terminal": "terminal-1"}
SHOP = DecodeRules(
    98_304,
    10_000,
    True,
    FixedTrust(True),
    site="shop",
    terminal="terminal-1",
    terminal_required=True,
    wall_ms=lambda: 50_000,
)
NO_CLOCK = replace(SHOP, wall_ms=lambda: None)


@pytest.mark.parametrize(
    ("sent_at_ms", "rules", "age_ms", "budget_ms"),
    [
        (None, SHOP, None, 8_000),
        (50_000, SHOP, 0, 8_000),
        (47_000, SHOP, 3_000, 5_000),
        (26_000, SHOP, 24_000, 0),
        (51_000, SHOP, -1_000, 8_000),
        (47_000, NO_CLOCK, None, 8_000),
    ],
    ids=["no send time", "now", "3 s ago", "24 s ago", "a clock ahead", "a terminal without the time"],
)
def test_budget_is_reduced_by_the_age(
    sent_at_ms: int | None, rules: DecodeRules, age_ms: int | None, budget_ms: int
) -> None:
    request = read(enveloped(**PLACE, sent_at_ms=sent_at_ms), rules)
    assert (request.age_ms, request.budget_ms, request.expires) == (age_ms, budget_ms, False)
    assert read(enveloped(**PLACE), rules, expires_in_ms=3_000).expires


@pytest.mark.parametrize(("expires_in_ms", "shows"), [(8_000, True), (9_000, True), (10_000, False)])
def test_an_expiry_longer_than_the_ttl_shows_no_age(expires_in_ms: int, shows: bool) -> None:
    """A broker may hold such a request for longer than its time: an expiry of a day proves nothing."""
    assert read(payload(ttl_ms=8_500), expires_in_ms=expires_in_ms).expires is shows


@pytest.mark.parametrize("sent_at_ms", [-1, 2**53 + 1, "1", True, 1.5])
def test_read_request_invalid_send_time_is_malformed(sent_at_ms: object) -> None:
    assert refused(payload(sent_at_ms=sent_at_ms)).refusal is Refusal.REQUEST_MALFORMED


@pytest.mark.parametrize("name", ["site", "terminal"])
def test_read_request_signed_for_another_terminal_is_malformed(name: str) -> None:
    other = refused(enveloped(**PLACE | {name: "another"}), SHOP)
    assert (other.refusal, other.request_id) == (Refusal.REQUEST_MALFORMED, REQUEST_ID)
    assert other.detail.startswith(f"{name} ")
    missing = refused(enveloped(**{key: value for key, value in PLACE.items() if key != name}), SHOP)
    assert missing.refusal is Refusal.REQUEST_MALFORMED and missing.detail.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("kind", "reader", "field"), [("cancel", read_cancel, "request_id"), ("ack", read_ack, "result_id")]
)
def test_read_cancel_and_read_ack_for_another_terminal_are_rejected(
    kind: str, reader: Callable[[bytes, str, DecodeRules], str], field: str
) -> None:
    def message(**place: str) -> bytes:
        inner = {"schema": f"facepay.{kind}/1", field: REQUEST_ID} | place
        return json.dumps({kind: json.dumps(inner), "jws": "e30..AAAA"}).encode()

    assert reader(message(**PLACE), "till-1", SHOP) == REQUEST_ID
    for place in ({}, PLACE | {"terminal": "another"}, PLACE | {"site": "another"}):
        with pytest.raises(Rejected, match=r"site|terminal"):
            reader(message(**place), "till-1", SHOP)


def test_read_request_unsigned_may_omit_but_not_change_the_terminal() -> None:
    demo = replace(SHOP, signatures_required=False, trust=None, terminal_required=False)
    assert read(payload(), demo).request_id == REQUEST_ID
    assert refused(payload(terminal="another"), demo).refusal is Refusal.REQUEST_MALFORMED


@pytest.mark.parametrize("text", ["\u3000", "a\u00a0b", "\U0001f600", "\u5f20\u4e09", "\u200d", "\u2028"])
def test_read_request_text_in_any_script_is_accepted(text: str) -> None:
    assert read(payload(transaction_id=text, consent_ref=text)).transaction_id == text


@pytest.mark.parametrize(
    "large", [payload(transaction_id="x" * 98_304), enveloped(transaction_id="x" * 98_304)]
)
def test_read_request_too_large_is_refused_with_its_id(large: bytes) -> None:
    error = refused(large)
    assert (error.refusal, error.request_id) == (Refusal.REQUEST_TOO_LARGE, REQUEST_ID)
    assert str(len(large)) in error.detail and "98304" in error.detail
