"""The TC3-HMAC-SHA256 signature of a JSON POST to ``/``, as pure functions: text in, text out.

The signature covers the content type, the host and the body; the date is that of the timestamp, in UTC.
Source: the provider's page "Signature algorithm v3". The tests compare with the provider's SDK.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

ALGORITHM = "TC3-HMAC-SHA256"
CONTENT_TYPE = "application/json"
_SIGNED_HEADERS = "content-type;host"


def canonical_request(host: str, payload: bytes) -> str:
    """The signed part of a request. ``host`` as in the Host header, with a port that is not the default."""
    headers = {"content-type": CONTENT_TYPE, "host": host}
    return canonical_form(headers, hashlib.sha256(payload).hexdigest())


def canonical_form(headers: Mapping[str, str], body_sha256: str) -> str:
    """As ``canonical_request``, for any signed headers, in the order of the signature.

    Args:
        headers: values by lower-case name.
        body_sha256: lower-case hex.
    """
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    return "\n".join(("POST", "/", "", lines, ";".join(headers), body_sha256))  # the third line: no query


def string_to_sign(canonical: str, service: str, timestamp_s: int) -> str:
    """The text that the HMAC covers. ``canonical``: of ``canonical_request`` or ``canonical_form``."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return "\n".join((ALGORITHM, str(timestamp_s), scope(service, timestamp_s), digest))


def signature(secret_key: bytes, text: str, service: str, timestamp_s: int) -> str:
    """Lower-case hex of the HMAC of ``text``, with the key derived for this day and service."""
    key = b"TC3" + secret_key
    for step in scope(service, timestamp_s).split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def authorization(
    secret_id: str, secret_key: bytes, *, service: str, host: str, payload: bytes, timestamp_s: int
) -> str:
    """The ``Authorization`` value of a request with ``X-TC-Timestamp: timestamp_s`` (unix seconds)."""
    text = string_to_sign(canonical_request(host, payload), service, timestamp_s)
    return (
        f"{ALGORITHM} Credential={secret_id}/{scope(service, timestamp_s)}, "
        f"SignedHeaders={_SIGNED_HEADERS}, Signature={signature(secret_key, text, service, timestamp_s)}"
    )


def scope(service: str, timestamp_s: int) -> str:
    """The part of the credential after the secret id: day in UTC, service, and a constant."""
    return f"{datetime.fromtimestamp(timestamp_s, UTC):%Y-%m-%d}/{service}/tc3_request"
