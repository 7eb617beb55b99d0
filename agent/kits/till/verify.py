"""The check of a captured result file: the acceptance rules without the timer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.core import strict_json
from agent.core.strict_json import json_object
from agent.errors import TillError
from agent.kits.till.acceptance import OpenRequest, Unused, judge
from agent.messages.rotation import Pinned
from agent.messages.signing import PublicKey
from agent.texts import Text

_FIX = Text("fix.save_payload_unchanged")


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
    opened = None if request is None else _opened(request, _inner(envelope, "result"), also)
    address = also if opened is None else {}  # an open request expects these fields itself
    verdict = judge(envelope, opened, Pinned(pinned), address=address, retained=False, now_s=0.0)
    result = _inner(envelope, "result")
    match verdict:
        case str():
            return VerifyFinding(verdict, result)
        case Unused(broken=broken) if opened is not None:
            return VerifyFinding(broken or "request_id is not that of the open request", result)
    return VerifyFinding("", result)


def _opened(request: bytes, result: dict[str, Any], also: dict[str, str]) -> OpenRequest:
    tree = _inner(_object(request, "request"), "request")
    try:
        opened = OpenRequest.of(tree, request, also, now_s=0.0)
        if opened.expected["request_sha256"] != result.get("request_sha256") and request.endswith(b"\n"):
            opened = OpenRequest.of(tree, request[:-1], also, now_s=0.0)  # the capture tool added a line end
    except (KeyError, TypeError) as error:
        raise TillError(f"the request file is no request: {error}", code="file_unusable", fix=_FIX) from error
    return opened


def _inner(tree: dict[str, Any], kind: str) -> dict[str, Any]:
    """The message inside its envelope, or ``tree`` without an envelope; {}: not a JSON object."""
    text = tree.get(kind)
    return (json_object(text) or {}) if isinstance(text, str) else tree


def _object(payload: bytes, kind: str) -> dict[str, Any]:
    try:
        tree = strict_json.loads(payload)
    except ValueError as error:
        raise TillError(f"the {kind} file is no message: {error}", code="file_unusable", fix=_FIX) from error
    if not isinstance(tree, dict):
        raise TillError(f"the {kind} file is no JSON object", code="file_unusable", fix=_FIX)
    return tree
