"""Signatures of the envelope: verified by an independent implementation; forged ones are rejected."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from copy import copy
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import TillError
from agent.messages.signing import KEY_FILE, PublicKey, Signer

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
TEXT = '{"decision":"match","hint":{"zh-CN":"同一人"}}'


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_sign_returns_a_detached_jws_that_plain_ed25519_verifies() -> None:
    """RFC 7515 appendix F: the signing input is header.payload; the payload is not sent."""
    jws = SIGNER.sign(TEXT, "result")
    head, empty, signature = jws.split(".")
    assert empty == ""
    assert json.loads(unb64url(head)) == {"alg": "Ed25519", "typ": "facepay-result+jws", "kid": SIGNER.key_id}
    SIGNER.public.key.verify(unb64url(signature), f"{head}.{b64url(TEXT.encode())}".encode())


def test_sign_is_deterministic() -> None:
    assert SIGNER.sign(TEXT, "result") == SIGNER.sign(TEXT, "result")


def test_verify_own_signature_is_accepted() -> None:
    assert SIGNER.public.verify(TEXT, SIGNER.sign(TEXT, "result"), "result")


def test_verify_the_kid_of_another_key_is_rejected() -> None:
    signer = copy(SIGNER)
    signer.key_id = "0" * 16
    assert not SIGNER.public.verify(TEXT, signer.sign(TEXT, "result"), "result")


@given(st.data())
def test_verify_changed_character_is_rejected(data: st.DataObject) -> None:
    jws = SIGNER.sign(TEXT, "result")
    index = data.draw(st.integers(0, len(jws) - 1))
    letter = data.draw(st.sampled_from("ABCabc012-_.=\n "))
    changed = jws[:index] + letter + jws[index + 1 :]
    if changed != jws:
        assert not _same_signature(changed, jws) or changed == jws
        assert not SIGNER.public.verify(TEXT, changed, "result") or _same_signature(changed, jws)
    text = TEXT[:5] + letter + TEXT[6:]
    assert text == TEXT or not SIGNER.public.verify(text, jws, "result")


def _same_signature(one: str, other: str) -> bool:
    """Whether the decoded bytes are equal: the last base64url character can have unused bits."""
    try:
        return [unb64url(part) for part in one.split(".")] == [unb64url(part) for part in other.split(".")]
    except ValueError:
        return False


def forged(header: dict[str, object], signature: bytes) -> str:
    return f"{b64url(json.dumps(header).encode())}..{b64url(signature)}"


def signed(header: dict[str, object]) -> str:
    """A chosen header with a valid signature."""
    head = b64url(json.dumps(header).encode())
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return f"{head}..{b64url(private.sign(f'{head}.{b64url(TEXT.encode())}'.encode()))}"


HMAC_KEY = SIGNER.public.pem()
FORGED = {
    "alg none": forged({"alg": "none", "typ": "facepay-result+jws"}, b""),
    "alg HS256 with the public key": forged(
        {"alg": "HS256", "typ": "facepay-result+jws"}, hashlib.sha256(HMAC_KEY).digest()
    ),
    "the deprecated name EdDSA": signed({"alg": "EdDSA", "typ": "facepay-result+jws"}),
    "no typ": signed({"alg": "Ed25519"}),
    "typ of another kind": signed({"alg": "Ed25519", "typ": "facepay-cancel+jws"}),
    "an unknown critical header": signed(
        {"alg": "Ed25519", "typ": "facepay-result+jws", "crit": ["x"], "x": 1}
    ),
    "an unencoded payload": signed(
        {"alg": "Ed25519", "typ": "facepay-result+jws", "b64": False, "crit": ["b64"]}
    ),
    "empty": "",
    "dots": "...",
    "not base64": "!!..!!",
    "not detached": SIGNER.sign(TEXT, "result").replace("..", f".{b64url(TEXT.encode())}."),
    "huge": "A" * 100_000,
}


@pytest.mark.parametrize("jws", FORGED.values(), ids=FORGED.keys())
def test_verify_invalid_header_is_rejected(jws: str) -> None:
    assert not SIGNER.public.verify(TEXT, jws, "result")


def test_verify_signature_of_another_key_is_rejected() -> None:
    other = Signer(Ed25519PrivateKey.generate())
    assert not other.public.verify(TEXT, SIGNER.sign(TEXT, "result"), "result")
    assert other.fingerprint != SIGNER.fingerprint


def test_load_or_create_creates_one_private_file(tmp_path: Path) -> None:
    first = Signer.load_or_create(tmp_path / "state")
    path = tmp_path / "state" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert Signer.load_or_create(tmp_path / "state").fingerprint == first.fingerprint
    assert [p.name for p in path.parent.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("content", [b"", b"no pem", b"\xff" * 100], ids=["empty", "text", "junk"])
def test_load_or_create_invalid_file_raises_and_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(TillError) as caught:
        Signer.load_or_create(tmp_path)
    assert caught.value.code == "key_unusable" and str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_load_or_create_file_readable_by_others_raises(tmp_path: Path) -> None:
    Signer.load_or_create(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(TillError, match="is readable by other users"):
        Signer.load_or_create(tmp_path)


def test_public_key_pem_round_trip() -> None:
    assert PublicKey.load(SIGNER.public.pem()).pem() == SIGNER.public.pem()
    with pytest.raises(TillError):
        PublicKey.load(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
