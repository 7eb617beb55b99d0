"""Multi-use signatures: the bytes of real clients, and headers that must be refused."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.contract import ApiFailure
from agent.compare.signature import Credential, is_genuine, parse, sign
from tests.compare.vectors import ACCOUNT, SECRET, VECTORS, Vector

SHAPED = [vector for vector in VECTORS if vector.code not in (4, 5)]


def make(plaintext: str, key: bytes = SECRET) -> str:
    raw = plaintext.encode()
    return base64.b64encode(hmac.new(key, raw, hashlib.sha1).digest() + raw).decode()


@pytest.mark.parametrize("vector", SHAPED, ids=lambda vector: vector.name)
def test_every_field_order_is_accepted(vector: Vector) -> None:
    signed = parse(vector.authorization)
    assert signed.plaintext.decode() == vector.plaintext
    assert is_genuine(signed, SECRET) == (vector.code != 14)
    assert not is_genuine(signed, SECRET[:-1])
    assert signed.appid in vector.plaintext


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.code in (4, 5)], ids=lambda vector: vector.name)
def test_malformed_header_is_refused(vector: Vector) -> None:
    with pytest.raises(ApiFailure) as caught:
        parse(vector.authorization)
    assert caught.value.api_code == vector.code


def test_signed_plaintext_equals_the_documented_template() -> None:
    golden = next(vector for vector in VECTORS if vector.name == "full-template")
    who = Credential(ACCOUNT["appid"], ACCOUNT["secret_id"], ACCOUNT["bucket"])
    made = sign(who, SECRET, now_s=golden.now_s, validity_s=2_592_000, nonce=11_162)
    assert made == golden.authorization


@pytest.mark.parametrize(
    "plaintext",
    [
        "",
        "a=1&k=2&e=100",
        "a=1&k=2&t=100",
        "a=1&e=200&t=100",
        "k=2&e=200&t=100",
        "a=1&k=2&e=100&t=100",  # e <= t
        "a=1&k=2&e=0&t=100",  # the single-use form is for other endpoints
        f"a=1&k=2&t=100&e={100 + 90 * 86_400 + 1}",  # beyond 90 days
        "a=1&k=2&e=+200&t=100",
        "a=1&k=2&e=2e2&t=100",
        "a=1&k=2&e=" + "9" * 13 + "&t=100",
        "a=1&a=2&k=2&e=200&t=100",  # repeated field
        "a=1&k=2&e=\u0662\u0660\u0660&t=100",
    ],
)
def test_genuine_digest_of_malformed_fields_is_refused(plaintext: str) -> None:
    with pytest.raises(ApiFailure) as caught:
        parse(make(plaintext))
    assert caught.value.api_code == 5


def test_ninety_days_and_unknown_fields_are_accepted() -> None:
    signed = parse(make(f"z=9&a=1&k=2&t=100&e={100 + 90 * 86_400}"))
    assert (signed.appid, signed.secret_id, signed.bucket, signed.signed_s) == ("1", "2", None, 100)


def test_repr_contains_no_secret() -> None:
    signed = parse(SHAPED[0].authorization)
    assert signed.digest.hex() not in repr(signed) and "plaintext" not in repr(signed)


ids = st.text("abcdefgXYZ0123456789_-", min_size=1, max_size=40)


@given(ids, ids, ids, st.integers(0, 4_000_000_000), st.integers(1, 7_776_000), st.integers(0, 9_999_999_999))
def test_own_signature_is_accepted(
    appid: str, sid: str, bucket: str, now_s: int, valid_s: int, nonce: int
) -> None:
    signed = parse(sign(Credential(appid, sid, bucket), b"key", now_s=now_s, validity_s=valid_s, nonce=nonce))
    assert is_genuine(signed, b"key")
    assert (signed.appid, signed.secret_id, signed.bucket) == (appid, sid, bucket)
    assert (signed.signed_s, signed.expires_s) == (now_s, now_s + valid_s)


@given(st.integers(0, 7), st.data())
def test_one_flipped_bit_is_never_genuine(bit: int, data: st.DataObject) -> None:
    raw = bytearray(base64.b64decode(SHAPED[0].authorization))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << bit
    try:
        signed = parse(base64.b64encode(raw).decode())
    except ApiFailure as failure:
        assert failure.api_code == 5
    else:
        assert not is_genuine(signed, SECRET)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.b64encode(raw).decode()))
def test_any_header_is_parsed_or_a_named_failure(header: str) -> None:
    try:
        parse(header)
    except ApiFailure as failure:
        assert failure.api_code == (5 if header.strip() else 4)
