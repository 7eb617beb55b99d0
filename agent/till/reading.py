"""What a till may send, read from hostile bytes: request, cancel, ack. Pure.

Order: size, UTF-8 and strict JSON, envelope, schema, fields. Unknown keys are ignored, unless the sender
named them in ``crit``. Every failure is a ``Rejected`` with one refusal word and what was wrong.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from agent.core import strict_json
from agent.core.model import Reference, Request
from agent.core.reasons import Refusal

SCHEMA = "facepay.{kind}/1"
TTL_MIN_MS, TTL_MAX_MS = 1_000, 60_000
IMAGE_MAX_BYTES = 60_000
URL_MAX_CHARS = 2_048
NONCE_MIN_CHARS, NONCE_MAX_CHARS = 22, 128  # 22 characters of base64url carry 128 bits
TEXT_MAX_CHARS = 128
REQUIRE_MAX = 16

_ALWAYS = {"schema", "request_id", "till", "transaction_id", "nonce", "epoch", "ttl_ms", "reference"}
_KNOWN = _ALWAYS | {"consent_ref", "require", "locale", "crit"}
_NONCE = re.compile(r"[A-Za-z0-9_\-=+/.]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Trust(Protocol):
    """The tills' keys, see ``keyring``."""

    def knows(self, till: str) -> bool:
        """Whether a key is trusted for this till: then it must sign."""
        ...

    def verify(self, till: str, text: str, detached: str, kind: str) -> bool: ...


class Rejected(Exception):
    """The bytes cannot be used. ``request_id`` is there when it could be read."""

    def __init__(self, refusal: Refusal, detail: str, request_id: str | None = None) -> None:
        super().__init__(detail)
        self.refusal = refusal
        self.detail = detail
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Rules:
    """What the terminal asks of every message. ``trust`` is None where signatures are not looked at."""

    max_bytes: int
    budget_max_ms: int
    signatures_required: bool = False
    trust: Trust | None = None
    diag: bool = False  # an operator's key is trusted here, so requests for a diagnosis are listened to


def read_request(
    payload: bytes, till: str, rules: Rules, *, received_ms: int, expires_in_ms: int | None = None
) -> Request:
    """One request from the topic of ``till``.

    Args:
        received_ms: boot clock; the budget runs from here.
        expires_in_ms: what the broker says is left of the message expiry, if it says so.
    Raises:
        Rejected: with the refusal to publish.
    """
    tree = opened(payload, till, "request", rules)
    request_id = uuid_of(tree, "request_id")
    try:
        return _request(tree, till, rules, payload, (request_id, received_ms, expires_in_ms))
    except Rejected as error:
        raise Rejected(error.refusal, error.detail, request_id) from None


def read_cancel(payload: bytes, till: str, rules: Rules) -> str:
    """The request_id to cancel. Raises ``Rejected``."""
    return uuid_of(opened(payload, till, "cancel", rules), "request_id")


def read_ack(payload: bytes, till: str, rules: Rules) -> str:
    """The result_id the till says it has. Raises ``Rejected``."""
    return uuid_of(opened(payload, till, "ack", rules), "result_id")


def _request(
    tree: dict[str, Any], till: str, rules: Rules, payload: bytes, known: tuple[str, int, int | None]
) -> Request:
    request_id, received_ms, expires_in_ms = known
    unknown = [name for name in strings_of(tree, "crit") if name not in _KNOWN]
    if unknown:
        raise malformed(f"crit names {unknown[0]!r}, which this version does not know")
    if text_of(tree, "till") != till:
        raise malformed("till differs from the topic's")
    ttl_ms = integer_of(tree, "ttl_ms", TTL_MIN_MS, TTL_MAX_MS)
    nonce = nonce_of(tree)
    budget_ms = min(ttl_ms, rules.budget_max_ms, ttl_ms if expires_in_ms is None else expires_in_ms)
    return Request(
        request_id=request_id,
        till=till,
        transaction_id=text_of(tree, "transaction_id"),
        nonce=nonce,
        epoch=text_of(tree, "epoch"),
        ttl_ms=ttl_ms,
        reference=_reference(tree.get("reference")),
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        received_ms=received_ms,
        budget_ms=budget_ms,
        consent_ref=text_of(tree, "consent_ref") if tree.get("consent_ref") is not None else None,
        require=tuple(strings_of(tree, "require")),
        locale=text_of(tree, "locale", 35) if tree.get("locale") is not None else None,
    )


def opened(payload: bytes, till: str, kind: str, rules: Rules) -> dict[str, Any]:
    """The message's own object, out of its envelope if it has one, with its schema checked."""
    if len(payload) > rules.max_bytes:
        raise Rejected(Refusal.REQUEST_TOO_LARGE, f"{len(payload)} bytes, at most {rules.max_bytes}")
    outer = _object(payload)
    signed = "jws" in outer
    text = text_of(outer, kind, rules.max_bytes) if signed else ""
    tree = _object(_bytes(text)) if signed else outer
    try:
        _check_signature(outer if signed else None, text, till, kind, rules)
        if tree.get("schema") != SCHEMA.format(kind=kind):
            raise Rejected(Refusal.SCHEMA_UNSUPPORTED, f"schema must be {SCHEMA.format(kind=kind)!r}")
    except Rejected as error:
        # Whoever sent it can only be told which of its messages is refused when the id is echoed.
        raise Rejected(error.refusal, error.detail, _id_or_none(tree)) from None
    return tree


def _check_signature(signed: dict[str, Any] | None, text: str, till: str, kind: str, rules: Rules) -> None:
    known = rules.trust is not None and rules.trust.knows(till)
    if signed is not None:
        signature = text_of(signed, "jws", 4_096)
        trusted = known and rules.trust is not None and rules.trust.verify(till, text, signature, kind)
        if not trusted and (known or rules.signatures_required):
            raise Rejected(Refusal.SIGNATURE_INVALID, "no key trusted for this till made this signature")
    elif known or rules.signatures_required:  # whoever can sign, must: else a forger would just leave it out
        raise Rejected(Refusal.SIGNATURE_MISSING, "this terminal takes signed messages only from this till")


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can write but UTF-8 cannot
        raise malformed("the envelope's text is no UTF-8") from error


def _id_or_none(tree: dict[str, Any]) -> str | None:
    try:
        return uuid_of(tree, "request_id")
    except Rejected:
        return None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        tree = strict_json.loads(raw)
    except ValueError as error:
        raise malformed(f"no JSON that can be used: {type(error).__name__}: {str(error)[:80]}") from error
    if not isinstance(tree, dict):
        raise malformed("not a JSON object")
    return tree


def _reference(tree: object) -> Reference:
    if not isinstance(tree, dict):
        raise malformed("reference: an object with url or image_b64")
    url, encoded = tree.get("url"), tree.get("image_b64")
    if (url is None) == (encoded is None):
        raise malformed("reference: exactly one of url and image_b64")
    sha256 = tree.get("sha256")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise malformed("reference.sha256: 64 lower-case hex digits")
    if url is not None:
        if not isinstance(url, str) or not 0 < len(url) <= URL_MAX_CHARS or not url.isprintable():
            raise malformed(f"reference.url: text of at most {URL_MAX_CHARS} characters")
        return Reference(url=url, sha256=sha256)
    if not isinstance(encoded, str) or len(encoded) > IMAGE_MAX_BYTES * 4 // 3 + 4:
        raise malformed(f"reference.image_b64: base64 of at most {IMAGE_MAX_BYTES} bytes")
    try:
        image = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed("reference.image_b64: not base64") from error
    if hashlib.sha256(image).hexdigest() != sha256:
        raise malformed("reference.sha256 is not that of image_b64")
    return Reference(image=image, sha256=sha256)


def malformed(detail: str) -> Rejected:
    return Rejected(Refusal.REQUEST_MALFORMED, detail)


def text_of(tree: dict[str, Any], name: str, longest: int = TEXT_MAX_CHARS) -> str:
    value = tree.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise malformed(f"{name}: text of 1 to {longest} characters")
    if longest <= URL_MAX_CHARS and not value.isprintable():
        raise malformed(f"{name}: control characters")
    return value


def strings_of(tree: dict[str, Any], name: str) -> list[str]:
    values = tree.get(name, [])
    if not isinstance(values, list) or len(values) > REQUIRE_MAX:
        raise malformed(f"{name}: a list of at most {REQUIRE_MAX} words")
    if not all(isinstance(v, str) and len(v) <= TEXT_MAX_CHARS and v.isprintable() for v in values):
        raise malformed(f"{name}: a list of words")
    return values


def nonce_of(tree: dict[str, Any]) -> str:
    nonce = text_of(tree, "nonce", NONCE_MAX_CHARS)
    if len(nonce) < NONCE_MIN_CHARS or not _NONCE.fullmatch(nonce):
        raise malformed("nonce: at least 128 random bits, as hex or base64")
    return nonce


def integer_of(tree: dict[str, Any], name: str, low: int, high: int) -> int:
    value = tree.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise malformed(f"{name}: a whole number of {low} to {high}")
    return value


def uuid_of(tree: dict[str, Any], name: str) -> str:
    value = tree.get(name)
    try:
        if isinstance(value, str) and str(UUID(value)) == value:
            return value
    except ValueError:
        pass
    raise malformed(f"{name}: a UUID in its usual lower-case form")
