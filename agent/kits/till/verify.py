"""Is a captured result what it says it is? The till's duty (``duty``), but for the timer, on files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.core import strict_json
from agent.errors import TillError
from agent.kits.till.acceptance import OpenRequest, judge
from agent.messages.rotation import Pinned
from agent.messages.signing import PublicKey
from agent.texts import Text

_FIX = Text("fix.save_payload_unchanged")


@dataclass(frozen=True, slots=True)
class VerifyFinding:
    """``broken`` is the rule in words, empty when the result is valid; ``result`` is what was signed."""

    broken: str
    result: dict[str, Any]


def check(payload: bytes, pinned: PublicKey, request: bytes | None, also: dict[str, str]) -> VerifyFinding:
    """Check one captured result.

    Args:
        request: the payload of the request as it was sent; None: only the signature is checked.
        also: what the result must name besides, e.g. ``terminal``.
    Raises:
        TillError: ``file_unusable``, one of the two is no message at all.
    """
    envelope = _object(payload, "result")
    opened = None if request is None else _opened(request, _inner(envelope, "result"), also)
    said = judge(envelope, opened, Pinned(pinned), address={}, retained=False, now_s=0.0)
    result = _inner(envelope, "result")
    broken = said if isinstance(said, str) else getattr(said, "broken", "")
    if broken:
        return VerifyFinding(broken, result)
    if opened is not None and result.get("request_id") != opened.expected["request_id"]:
        return VerifyFinding("request_id is not the open request's", result)
    wrong = [name for name, value in also.items() if result.get(name) != value]
    return VerifyFinding(f"{wrong[0]} is not {also[wrong[0]]}" if wrong else "", result)


def _opened(request: bytes, result: dict[str, Any], also: dict[str, str]) -> OpenRequest:
    tree = _inner(_object(request, "request"), "request")
    try:
        opened = OpenRequest.of(tree, request, also, now_s=0.0)
        if opened.expected["request_sha256"] != result.get("request_sha256") and request.endswith(b"\n"):
            opened = OpenRequest.of(tree, request[:-1], also, now_s=0.0)  # the capture's own line end
    except (KeyError, TypeError) as error:
        raise TillError(
            f"the request file is no request: {error}",
            code="file_unusable",
            fix=_FIX,
        ) from error
    return opened


def _inner(tree: dict[str, Any], kind: str) -> dict[str, Any]:
    """The message out of its envelope, if it has one; {} when that is no object."""
    text = tree.get(kind)
    if not isinstance(text, str):
        return tree
    try:
        inner = strict_json.loads(text.encode())
    except ValueError:
        return {}
    return inner if isinstance(inner, dict) else {}


def _object(payload: bytes, kind: str) -> dict[str, Any]:
    try:
        tree = strict_json.loads(payload)
    except ValueError as error:
        raise TillError(
            f"the {kind} file is no message: {error}",
            code="file_unusable",
            fix=_FIX,
        ) from error
    if not isinstance(tree, dict):
        raise TillError(
            f"the {kind} file is no JSON object",
            code="file_unusable",
            fix=_FIX,
        )
    return tree
