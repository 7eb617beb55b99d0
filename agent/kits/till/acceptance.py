"""The acceptance rules of a till: when a till may act on a result, and when a till acknowledges a result.

A till starts a timer before it sends a request, on a clock that includes suspend. A till acts on at most
one result. Conditions: the signature is that of a pinned key; nonce, request_id, site, terminal, epoch and
request_sha256 are those of the open request; the timer is within ttl_ms; the till did not cancel. A till
acknowledges every valid result addressed to it, also a result for an earlier process of the same till.
Results are never retained. ``check`` applies the rules to a captured result file, without the timer.
Source: the till contract.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from agent.core import strict_json
from agent.core.strict_json import json_object
from agent.errors import TillError, reason_of
from agent.messages.rotation import PinnedKeys
from agent.messages.signing import PublicKey
from agent.texts import Text

_FIX = Text("fix.save_payload_unchanged")


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A verdict that the till may act on. ``similarity``: None when not measured or withheld.

    ``result``: the complete verified result; {}: no result arrived. ``accepted``: before the time-out an
    ``accepted`` event arrived; it is not signed, so for hints only.
    """

    decision: str
    reason: str
    request_id: str
    similarity: float | None = None
    total_ms: int = 0
    result: dict[str, Any] = field(default_factory=dict)
    accepted: bool = True


@dataclass(frozen=True, slots=True)
class AckOnly:
    """A valid result for this till that the till must acknowledge, but must not act on.

    ``broken``: the rule that a payment would break; empty: the result answers a request that is not open.
    """

    result_id: str
    broken: str = ""


@dataclass(slots=True)
class OpenRequest:
    """The fields that a result must repeat, and the deadline (``boot_s``)."""

    expected: dict[str, Any]
    deadline_s: float
    cancelled: bool = False

    @classmethod
    def of(cls, request: dict[str, Any], payload: bytes, also: dict[str, Any], now_s: float) -> OpenRequest:
        """The open request for ``payload``. Call before sending: the timer starts here."""
        copied = {name: request[name] for name in ("request_id", "nonce", "epoch", "till")}
        expected = copied | also | {"request_sha256": hashlib.sha256(payload).hexdigest()}
        return cls(expected, deadline_s=now_s + request["ttl_ms"] / 1e3)


def judge_result(
    envelope: dict[str, Any],
    opened: OpenRequest | None,
    pinned: PinnedKeys | None,
    *,
    address: dict[str, str],
    retained: bool,
    now_s: float,
) -> Acceptance | AckOnly | str:
    """An accepted verdict, a valid result to acknowledge only, or the rule that an invalid result breaks.

    Args:
        pinned: None: signatures are not checked.
        address: the fields of every result for this till: site, terminal and till, as far as known.
    """
    if retained:
        return "a result was retained"
    text, signature = envelope.get("result"), envelope.get("jws")
    if not isinstance(text, str) or not isinstance(signature, str):
        return "no signed envelope"
    if pinned is not None and not pinned.verify(text, signature, "result", now_s):
        return "the signature is not the pinned key's"
    try:
        result = strict_json.loads(text.encode())
    except ValueError as error:
        return f"unreadable: {error}"
    if not isinstance(result, dict):
        return "unreadable: no object"
    result_id = result.get("result_id")
    if not isinstance(result_id, str):
        return "unreadable: no result_id"
    for name, value in address.items():
        if result.get(name) != value:
            return f"{name} is not {value}"
    if opened is None or result.get("request_id") != opened.expected["request_id"]:
        return AckOnly(result_id)
    return _compare_with_request(result, opened, now_s)


def _compare_with_request(result: dict[str, Any], opened: OpenRequest, now_s: float) -> Acceptance | AckOnly:
    result_id = result["result_id"]
    for name, value in opened.expected.items():
        if result.get(name) != value:
            return AckOnly(result_id, f"{name} is not that of the open request")
    decision, reason = str(result.get("decision")), str(result.get("reason"))
    if decision not in ("match", "no_match"):
        decision = "undecided"  # a till treats an unknown decision as undecided, too
    if decision != "undecided" and now_s > opened.deadline_s:
        return AckOnly(result_id, "a verdict after the deadline")
    if decision == "match" and opened.cancelled:
        return AckOnly(result_id, "a match after the till's cancel")
    compare, timings = result.get("compare"), result.get("timings_ms")
    return Acceptance(
        decision=decision,
        reason=reason,
        request_id=str(result.get("request_id")),
        similarity=compare.get("similarity") if isinstance(compare, dict) else None,
        total_ms=int(timings.get("total", 0)) if isinstance(timings, dict) else 0,
        result=result,
    )


@dataclass(frozen=True, slots=True)
class VerifyFinding:
    """``broken``: the broken rule as text, empty when the result is valid. ``result``: the signed object."""

    broken: str
    result: dict[str, Any]


def check(payload: bytes, pinned: PublicKey, request: bytes | None, also: dict[str, str]) -> VerifyFinding:
    """Check one captured result.

    Args:
        request: the payload of the request as sent; None: only the signature is checked.
        also: further fields that the result must have, e.g. ``terminal``.
    Raises:
        TillError: ``file_unusable``: one of the two files is not a message.
    """
    envelope = _object(payload, "result")
    opened = None if request is None else _open_request(request, _inner(envelope, "result"), also)
    address = also if opened is None else {}  # an open request expects these fields itself
    verdict = judge_result(envelope, opened, PinnedKeys(pinned), address=address, retained=False, now_s=0.0)
    result = _inner(envelope, "result")
    match verdict:
        case str():
            return VerifyFinding(verdict, result)
        case AckOnly(broken=broken) if opened is not None:
            return VerifyFinding(broken or "request_id is not that of the open request", result)
    return VerifyFinding("", result)


def _open_request(request: bytes, result: dict[str, Any], also: dict[str, str]) -> OpenRequest:
    tree = _inner(_object(request, "request"), "request")
    try:
        opened = OpenRequest.of(tree, request, also, now_s=0.0)
        if opened.expected["request_sha256"] != result.get("request_sha256") and request.endswith(b"\n"):
            opened = OpenRequest.of(tree, request[:-1], also, now_s=0.0)  # the capture tool added a line end
    except (KeyError, TypeError) as error:
        why = Text("detail.file_no_request", reason=str(error))
        raise TillError(why, code="file_unusable", fix=_FIX) from error
    return opened


def _inner(tree: dict[str, Any], kind: str) -> dict[str, Any]:
    """The message inside its envelope, or ``tree`` without an envelope; {}: not a JSON object."""
    text = tree.get(kind)
    return (json_object(text) or {}) if isinstance(text, str) else tree


def _object(payload: bytes, kind: str) -> dict[str, Any]:
    try:
        tree = strict_json.loads(payload)
    except ValueError as error:
        why = Text("detail.file_no_message", kind=kind, reason=reason_of(error))
        raise TillError(why, code="file_unusable", fix=_FIX) from error
    if not isinstance(tree, dict):
        raise TillError(Text("detail.file_no_object", kind=kind), code="file_unusable", fix=_FIX)
    return tree
