"""The header of a request with a TC3 signature, and the check of the signature against the body.

The signature covers the body, so it can be verified only when the body was read. Everything else in the
header is checked before: form, scope and day.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.compare import tc3
from agent.compare.compareface_contract import SERVICE
from agent.compare.contract import ApiFailure
from agent.compare.signature import HEADER_MAX_CHARS
from agent.service.causes import Cause

WINDOW_S = 300  # accepted difference between the timestamp and the clock of the service
_EMPTY, _MALFORMED, _INVALID = 4, 5, 21
_FORM = re.compile(
    re.escape(tc3.ALGORITHM)
    + r" +Credential=([A-Za-z0-9_-]{1,128})/([0-9-]{10}/[^/,\s]{1,64}/[a-z0-9_]{1,32}) *, *"
    r"SignedHeaders=([a-z0-9;-]{1,256}) *, *Signature=([0-9a-f]{64})"
)
_SECONDS = re.compile(r"[0-9]{1,10}")
_REQUIRED = frozenset({"content-type", "host"})


@dataclass(frozen=True, slots=True)
class Tc3Signed:
    """A parsed header, not yet verified. ``names``: the signed headers, in their order. Unix seconds."""

    secret_id: str
    signed_s: int
    names: tuple[str, ...]
    signature: str = field(repr=False)

    @property
    def expires_s(self) -> int:
        return self.signed_s + WINDOW_S

    @property
    def digest(self) -> bytes:
        return bytes.fromhex(self.signature)


def parse(authorization: str, timestamp: str) -> Tc3Signed:
    """Parse ``Authorization`` and ``X-TC-Timestamp``.

    Raises:
        ApiFailure: 4 empty; 21 no timestamp; 5 another form, another day or service than those of this
            request, or content type or host not signed.
    """
    if not authorization.strip():
        raise ApiFailure(_EMPTY)
    if not timestamp:
        raise ApiFailure(_INVALID, "X-TC-Timestamp is missing", cause=Cause.PARAMETER_MISSING)
    found = _FORM.fullmatch(authorization.strip()) if len(authorization) <= HEADER_MAX_CHARS else None
    if found is None or not _SECONDS.fullmatch(timestamp):
        raise ApiFailure(_MALFORMED, "not the form of a TC3 signature")
    secret_id, scope, names, signature = found.groups()
    signed = Tc3Signed(secret_id, int(timestamp), tuple(names.split(";")), signature)
    if scope != tc3.scope(SERVICE, signed.signed_s):
        raise ApiFailure(_MALFORMED, "the credential is of another day or service")
    if not set(signed.names) >= _REQUIRED or len(set(signed.names)) != len(signed.names):
        raise ApiFailure(_MALFORMED, "content-type and host must be signed, once")
    return signed


def is_genuine(signed: Tc3Signed, key: bytes, headers: Mapping[str, str], body_sha256: str) -> bool:
    """Whether this key signed these headers and this body. Constant time.

    The provider's page writes the values in lower case; the provider's SDK signs them as sent. Both are
    accepted.
    """
    as_sent = {name: headers.get(name, "").strip() for name in signed.names}
    genuine = False
    for values in (as_sent, {name: value.lower() for name, value in as_sent.items()}):
        text = tc3.string_to_sign(tc3.canonical_form(values, body_sha256), SERVICE, signed.signed_s)
        expected = tc3.signature(key, text, SERVICE, signed.signed_s)
        genuine |= hmac.compare_digest(expected, signed.signature)
    return genuine
