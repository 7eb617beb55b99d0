"""Decoder of the messages of a till: request, cancel, ack. The bytes are hostile. Pure.

Checks in this order: size, UTF-8 and strict JSON, envelope, signature, schema, site and terminal, fields.
Unknown keys are ignored, unless the sender named them in ``crit``. Every failure is a ``Rejected`` with one
refusal code and a detail.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from agent.core import strict_json
from agent.core.model import Request
from agent.core.reasons import Refusal
from agent.messages import fields
from agent.messages.fields import Rejected, malformed, text_of, uuid_of
from agent.messages.topics import is_id

SCHEMA = "facepay.{kind}/1"
TTL_MIN_MS, TTL_MAX_MS = 1_000, 60_000

_ALWAYS = {"schema", "request_id", "till", "transaction_id", "nonce", "epoch", "ttl_ms", "reference"}
_KNOWN = _ALWAYS | {"sent_at_ms", "site", "terminal", "consent_ref", "require", "locale", "crit"}
_UNIX_MS_MAX = 2**53
_EXPIRY_STEP_MS = 1_000
_ID_SEARCH_BYTES = 4_096  # of a message that is too large to be parsed
_REQUEST_ID = re.compile(
    rb'\\?"request_id\\?"\s*:\s*\\?"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\\?"'
)


class Trust(Protocol):
    """The keys of the tills, see ``keyring``."""

    def has_key(self, till: str) -> bool:
        """Whether a key is trusted for this till. Then every message of the till must be signed."""
        ...

    def verify(self, till: str, text: str, detached: str, kind: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class DecodeRules:
    """Rules for every message. ``trust`` is None where signatures are not checked."""

    max_bytes: int
    budget_max_ms: int
    signatures_required: bool = False
    trust: Trust | None = None
    accepts_diagnosis: bool = False  # an operator's key is trusted: subscribe to diagnosis requests
    site: str = ""  # of this terminal; empty: the site in a message is not compared
    terminal: str = ""
    terminal_required: bool = False  # a signed message must name site and terminal
    wall_ms: Callable[[], int | None] = lambda: None  # unix time; None while the clock is not synchronised


def read_request(
    payload: bytes, till: str, rules: DecodeRules, *, received_ms: int, expires_in_ms: int | None = None
) -> Request:
    """Decode one request from the topic of ``till``.

    Args:
        received_ms: boot clock; the budget starts at this time.
        expires_in_ms: the rest of the message expiry, from the broker in whole seconds; None: no expiry.
    Raises:
        Rejected: with the refusal code to publish.
    """
    tree = unwrap(payload, till, "request", rules)
    request_id = uuid_of(tree, "request_id")
    try:
        return _request(tree, till, rules, payload, (request_id, received_ms, expires_in_ms))
    except Rejected as error:
        raise Rejected(error.refusal, error.detail, request_id) from None


def read_cancel(payload: bytes, till: str, rules: DecodeRules) -> str:
    """The ``request_id`` to cancel. Raises ``Rejected``."""
    return uuid_of(unwrap(payload, till, "cancel", rules), "request_id")


def read_ack(payload: bytes, till: str, rules: DecodeRules) -> str:
    """The ``result_id`` that the till acknowledges. Raises ``Rejected``."""
    return uuid_of(unwrap(payload, till, "ack", rules), "result_id")


def _request(
    tree: dict[str, Any], till: str, rules: DecodeRules, payload: bytes, known: tuple[str, int, int | None]
) -> Request:
    request_id, received_ms, expires_in_ms = known
    unknown = [name for name in fields.strings_of(tree, "crit") if name not in _KNOWN]
    if unknown:
        raise malformed(f"crit names {unknown[0]!r}, which this version does not support")
    if text_of(tree, "till") != till:
        raise malformed("till differs from the till in the topic")
    ttl_ms = fields.integer_of(tree, "ttl_ms", TTL_MIN_MS, TTL_MAX_MS)
    nonce = fields.nonce_of(tree)
    age_ms = None  # negative: sent in the future; None: no send time or no clock
    if "sent_at_ms" in tree:
        sent_at_ms, wall_ms = fields.integer_of(tree, "sent_at_ms", 0, _UNIX_MS_MAX), rules.wall_ms()
        age_ms = None if wall_ms is None else wall_ms - sent_at_ms
    left_ms = ttl_ms - max(0, age_ms or 0)
    by_expiry_ms = left_by_expiry_ms(expires_in_ms, is_age_known=age_ms is not None)
    budget_ms = max(0, min(left_ms, rules.budget_max_ms, ttl_ms if by_expiry_ms is None else by_expiry_ms))
    return Request(
        request_id=request_id,
        till=till,
        transaction_id=text_of(tree, "transaction_id"),
        nonce=nonce,
        epoch=text_of(tree, "epoch"),
        ttl_ms=ttl_ms,
        reference=fields.reference_of(tree.get("reference")),
        payload_sha256=hashlib.sha256(payload).hexdigest(),
        received_ms=received_ms,
        budget_ms=budget_ms,
        consent_ref=text_of(tree, "consent_ref") if tree.get("consent_ref") is not None else None,
        require=tuple(fields.strings_of(tree, "require")),
        locale=text_of(tree, "locale", 35) if tree.get("locale") is not None else None,
        age_ms=age_ms,
        expires=expires_in_ms is not None
        and expires_in_ms < ttl_ms + _EXPIRY_STEP_MS,  # rounded up to whole seconds
    )


def left_by_expiry_ms(expires_in_ms: int | None, *, is_age_known: bool) -> int | None:
    """Upper limit of the remaining time by the message expiry; None without a message expiry.

    A broker reports whole seconds, and RabbitMQ rounds them down: a request with ``ttl_ms`` 1 000 arrives
    with 0 s. So ``n`` reported seconds are less than ``n + 1`` real seconds. With a known age the age is
    exact, and the limit is ``n + 1`` s. Without an age the limit is ``n`` s, so that the deadline of the
    till is kept, but at least one second: a request that has time left is never stale by rounding.
    """
    if expires_in_ms is None:
        return None
    return expires_in_ms + _EXPIRY_STEP_MS if is_age_known else max(expires_in_ms, _EXPIRY_STEP_MS)


def unwrap(payload: bytes, till: str, kind: str, rules: DecodeRules) -> dict[str, Any]:
    """The JSON object of a message, taken from its envelope if signed. Checks signature, schema and ids."""
    if len(payload) > rules.max_bytes:
        detail = f"{len(payload)} bytes, at most {rules.max_bytes}"
        match = _REQUEST_ID.search(payload[:_ID_SEARCH_BYTES])  # for the refusal, never for a claim
        raise Rejected(Refusal.REQUEST_TOO_LARGE, detail, match[1].decode() if match else None)
    outer = _object(payload)
    signed = "jws" in outer
    text = text_of(outer, kind, rules.max_bytes) if signed else ""
    tree = _object(text) if signed else outer
    try:
        _check_signature(outer if signed else None, text, till, kind, rules)
        if tree.get("schema") != SCHEMA.format(kind=kind):
            raise Rejected(Refusal.SCHEMA_UNSUPPORTED, f"schema must be {SCHEMA.format(kind=kind)!r}")
        _check_terminal(tree, rules, signed=signed)
    except Rejected as error:
        # Without the id the sender cannot match the refusal to one of its messages.
        raise Rejected(error.refusal, error.detail, _id_or_none(tree)) from None
    return tree


def _check_signature(
    signed: dict[str, Any] | None, text: str, till: str, kind: str, rules: DecodeRules
) -> None:
    has_key = rules.trust is not None and rules.trust.has_key(till)
    if signed is not None:
        signature = text_of(signed, "jws", 4_096)
        trusted = has_key and rules.trust is not None and rules.trust.verify(till, text, signature, kind)
        if not trusted and (has_key or rules.signatures_required):
            raise Rejected(Refusal.SIGNATURE_INVALID, "no trusted key of this till made this signature")
    elif has_key or rules.signatures_required:  # a forger could otherwise omit the signature
        raise Rejected(Refusal.SIGNATURE_MISSING, "this terminal accepts only signed messages from this till")


def _check_terminal(tree: dict[str, Any], rules: DecodeRules, *, signed: bool) -> None:
    """A message that was signed for another terminal must not be valid here."""
    for name, own in (("site", rules.site), ("terminal", rules.terminal)):
        if name not in tree:
            if signed and rules.terminal_required:
                raise malformed(f"{name}: a signed message must name its terminal")
        elif not is_id(tree[name]) or (own and tree[name] != own):
            raise malformed(f"{name} differs from the {name} in the topic")


def _id_or_none(tree: dict[str, Any]) -> str | None:
    try:
        return uuid_of(tree, "request_id")
    except Rejected:
        return None


def _object(raw: bytes | str) -> dict[str, Any]:
    try:
        tree = strict_json.loads(raw.encode() if isinstance(raw, str) else raw)
    except UnicodeEncodeError as error:  # a lone surrogate: valid in a JSON escape, not in UTF-8
        raise malformed("the text in the envelope is not UTF-8") from error
    except ValueError as error:
        raise malformed(f"invalid JSON: {type(error).__name__}: {str(error)[:80]}") from error
    if not isinstance(tree, dict):
        raise malformed("not a JSON object")
    return tree
