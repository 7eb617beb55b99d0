"""The multi-use signature: ``base64(HMAC-SHA1(secret key, plaintext) + plaintext)``. Pure.

Real clients differ in the order and the set of fields. A verifier therefore checks the digest over the
plaintext *as received*, before it uses a field.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field

from agent.compare.contract import ApiFailure

VALIDITY_MAX_S = 90 * 86_400
HEADER_MAX_CHARS = 1_024
_DIGEST_BYTES = 20
_EMPTY, _MALFORMED = 4, 5
_INT_MAX_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Credential:
    """The ids of a signer. ``bucket`` is a legacy field and may be empty."""

    appid: str
    secret_id: str
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """A parsed header, not yet verified. ``bucket`` is None when absent. Times in unix seconds."""

    appid: str
    bucket: str | None
    secret_id: str
    signed_s: int
    expires_s: int
    digest: bytes = field(repr=False)
    plaintext: bytes = field(repr=False)


def sign(credential: Credential, secret_key: bytes, *, now_s: int, validity_s: int, nonce: int) -> str:
    """An ``Authorization`` value in the documented field order. ``nonce`` has at most ten digits."""
    plaintext = (
        f"a={credential.appid}&b={credential.bucket}&k={credential.secret_id}"
        f"&e={now_s + validity_s}&t={now_s}&r={nonce}&u=0&f="
    ).encode()
    return base64.b64encode(_digest(secret_key, plaintext) + plaintext).decode("ascii")


def parse(header: str) -> Signed:
    """Parse an ``Authorization`` value.

    Raises:
        ApiFailure: 4 when empty; 5 when not base64, when a field is missing, repeated or not a number, when
            ``e <= t``, or when the validity is longer than 90 days.
    """
    if not header.strip():
        raise ApiFailure(_EMPTY)
    if len(header) > HEADER_MAX_CHARS:
        raise ApiFailure(_MALFORMED)
    try:
        raw = base64.b64decode(header.strip().encode("ascii"), validate=True)
        plaintext = raw[_DIGEST_BYTES:]
        fields = _fields(plaintext.decode("ascii"))
        signed = Signed(
            appid=fields["a"],
            bucket=fields.get("b"),
            secret_id=fields["k"],
            signed_s=_seconds(fields["t"]),
            expires_s=_seconds(fields["e"]),
            digest=raw[:_DIGEST_BYTES],
            plaintext=plaintext,
        )
    except (binascii.Error, UnicodeError, ValueError, KeyError) as error:
        raise ApiFailure(_MALFORMED) from error
    if not 0 < signed.expires_s - signed.signed_s <= VALIDITY_MAX_S:
        raise ApiFailure(_MALFORMED)
    return signed


def is_genuine(signed: Signed, secret_key: bytes) -> bool:
    """Whether this key made the digest of the plaintext as received. Constant time."""
    return hmac.compare_digest(signed.digest, _digest(secret_key, signed.plaintext))


def _digest(secret_key: bytes, plaintext: bytes) -> bytes:
    return hmac.new(secret_key, plaintext, hashlib.sha1).digest()


def _fields(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split("&")]
    values = {name: value for name, _, value in pairs}
    if len(values) != len(pairs):
        raise ValueError("repeated field")
    return values


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _INT_MAX_DIGITS):
        raise ValueError("not a unix time")
    return int(text)
