"""Encoder of the messages of the terminal. Pure, except for the signer, which holds the private key."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from agent.core.model import Result
from agent.core.ports import AcceptedEvent, GuidanceEvent, RefusedEvent, StageEvent, TillEvent
from agent.messages.signing import Signer
from agent.texts import in_locale


@dataclass(frozen=True, slots=True)
class TerminalIdentity:
    """Site and terminal from the config, boot id and epoch of this process."""

    site: str
    terminal: str
    boot_id: str
    epoch: str
    show_similarity: bool = True


@dataclass(frozen=True, slots=True)
class Issued:
    """Values that the outbox assigns when it stores a result."""

    result_id: str
    seq: int  # grows by one with each result of this outbox, so also within an epoch
    unix_ms: int


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """State of the terminal's wall clock. None: not known."""

    synced: bool | None = None
    offset_ms: int | None = None  # clock of the compare API minus our clock, from verified TLS answers


def dumps(tree: dict[str, Any]) -> str:
    """Compact JSON. Raises ``ValueError`` for NaN and infinity."""
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def envelope(kind: str, tree: dict[str, Any], signer: Signer | None) -> bytes:
    """``{"<kind>": "<JSON text>", "jws": "<detached JWS>"}``, or the plain object without a signer."""
    inner = dumps(tree)
    if signer is None:
        return inner.encode()
    return dumps(_signed(kind, inner, signer)).encode()


def _signed(kind: str, text: str, signer: Signer) -> dict[str, str]:
    return {kind: text, "jws": signer.sign(text, kind)}


def result(
    value: Result,
    identity: TerminalIdentity,
    issued: Issued,
    signer: Signer,
    clock: ClockFacts = ClockFacts(),
) -> bytes:
    """The signed result of a request. Encode once and store: repeats are the same bytes."""
    request = value.request
    tree: dict[str, Any] = {
        "schema": "facepay.result/1",
        "result_id": issued.result_id,
        "request_id": request.request_id,
        "till": request.till,
        "transaction_id": request.transaction_id,
        "nonce": request.nonce,
        "request_sha256": request.payload_sha256,
        **_ids(identity),
        "epoch": request.epoch,  # an interrupted request has the epoch of an earlier process
        "seq": issued.seq,
        "decision": value.decision.value,
        "reason": value.reason.value,
        "hint": in_locale("reason", value.reason.value, request.locale),
        "compare": _compare(value, identity.show_similarity),
        "assurance": {"reference_sha256": request.reference.sha256} | asdict(value.assurance),
        "asks": min(value.asks, value.calls),
        "issued_at": rfc3339(issued.unix_ms),
        "clock": asdict(clock),
        "timings_ms": asdict(value.timings),
    }
    return envelope("result", tree, signer)


def _compare(value: Result, show_similarity: bool) -> dict[str, Any] | None:
    """None when the API answered no call."""
    answer = value.comparison
    if answer is None:
        return None if value.api_code is None else {"code": value.api_code}
    tree = {
        "provider": answer.provider,
        "session_id": answer.session_id,
        "code": answer.code,
        "threshold": answer.threshold,
    }
    return tree | ({"similarity": round(answer.similarity, 2)} if show_similarity else {})


def event(value: TillEvent) -> tuple[str, bytes]:
    """(till, payload) of an event. Not signed: an event is never a reason to pay."""
    match value:
        case AcceptedEvent(request=request, budget_ms=budget_ms):
            return request.till, _event("accepted", request.request_id, {"budget_ms": budget_ms})
        case GuidanceEvent(request=request, guidance=guidance):
            hint = in_locale("guidance", guidance.value, request.locale)
            fields = {"guidance": guidance.value, "hint": hint}
            return request.till, _event("guidance", request.request_id, fields)
        case StageEvent(request=request, stage=stage):
            return request.till, _event("stage", request.request_id, {"stage": stage})
        case RefusedEvent(till=till, request_id=request_id, refusal=refusal, detail=detail):
            hint = in_locale("refusal", refusal.value, None)
            fields = {"refusal": refusal.value, "detail": detail[:300], "hint": hint}
            optional = {"result_id": value.result_id, "asks": value.asks}
            present = {name: value for name, value in optional.items() if value is not None}
            return till, _event("refused", request_id, {**fields, **present})


def _event(name: str, request_id: str | None, fields: dict[str, Any]) -> bytes:
    return dumps({"schema": "facepay.event/1", "event": name, "request_id": request_id, **fields}).encode()


def state(
    status: str,
    identity: TerminalIdentity,
    fields: dict[str, Any] | None = None,
    signer: Signer | None = None,
) -> bytes:
    """The retained state; ``status`` is online, degraded, stopping or offline (the last will).

    With a signer the payload also contains the envelope: ``state`` (the same fields as JSON text) and
    ``jws``. The fields beside the envelope are for readers that verify no signature.
    """
    tree = {"schema": "facepay.state/1", "status": status} | _ids(identity) | (fields or {})
    signed: dict[str, Any] = {} if signer is None else _signed("state", dumps(tree), signer)
    return dumps(tree | signed).encode()


def health(identity: TerminalIdentity, fields: dict[str, Any]) -> bytes:
    """Counters and timings since this process started, for the back office."""
    return dumps({"schema": "facepay.health/1"} | _ids(identity) | fields).encode()


def _ids(identity: TerminalIdentity) -> dict[str, str]:
    return {
        "site": identity.site,
        "terminal": identity.terminal,
        "boot_id": identity.boot_id,
        "epoch": identity.epoch,
    }


def rfc3339(unix_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds and ``Z``."""
    moment = datetime.fromtimestamp(unix_ms / 1e3, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
