"""What the terminal says, as the bytes that go out. Pure but for the signer, which holds the key."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from agent.core.model import Result
from agent.core.ports import Accepted, Guided, RefusedEvent, Staged, TillEvent
from agent.messages.signing import Signer
from agent.texts import in_locale


@dataclass(frozen=True, slots=True)
class TerminalIdentity:
    """Who speaks, from config and this process."""

    site: str
    terminal: str
    boot_id: str
    epoch: str
    show_similarity: bool = True


@dataclass(frozen=True, slots=True)
class Issued:
    """What the outbox gives a result when it stores it."""

    result_id: str
    seq: int  # grows by one with each result of this outbox, so within each epoch, too
    unix_ms: int


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """How far the terminal's wall clock is to be trusted; None: not known, never a guess."""

    synced: bool | None = None
    offset_ms: int | None = None  # of the compare API's clock against ours, from its verified TLS answers


def dumps(tree: dict[str, Any]) -> str:
    """Compact JSON; NaN cannot get out."""
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def envelope(kind: str, tree: dict[str, Any], signer: Signer | None) -> bytes:
    """``{"<kind>": "<JSON text>", "jws": "<detached JWS>"}``, or the plain object when nobody signs."""
    inner = dumps(tree)
    if signer is None:
        return inner.encode()
    return dumps({kind: inner, "jws": signer.sign(inner, kind)}).encode()


def result(
    value: Result, who: TerminalIdentity, issued: Issued, signer: Signer, clock: ClockFacts = ClockFacts()
) -> bytes:
    """The one result of a request: made once, stored, and re-sent as these very bytes."""
    asked = value.request
    tree: dict[str, Any] = {
        "schema": "facepay.result/1",
        "result_id": issued.result_id,
        "request_id": asked.request_id,
        "till": asked.till,
        "transaction_id": asked.transaction_id,
        "nonce": asked.nonce,
        "request_sha256": asked.payload_sha256,
        "site": who.site,
        "terminal": who.terminal,
        "boot_id": who.boot_id,
        "epoch": asked.epoch,  # a till compares with its request; an interrupted one is of an earlier process
        "seq": issued.seq,
        "decision": value.decision.value,
        "reason": value.reason.value,
        "hint": in_locale("reason", value.reason.value, asked.locale),
        "compare": _compare(value, who.show_similarity),
        "assurance": {"reference_sha256": asked.reference.sha256} | asdict(value.assurance),
        "asks": value.asks,
        "issued_at": rfc3339(issued.unix_ms),
        "clock": asdict(clock),
        "timings_ms": asdict(value.timings),
    }
    return envelope("result", tree, signer)


def _compare(value: Result, show_similarity: bool) -> dict[str, Any] | None:
    """None when no question was answered by the API at all."""
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
    """(till, payload) of an event; events are hints and need no signature: no money hangs on them."""
    match value:
        case Accepted(request=request, budget_ms=budget_ms):
            return request.till, _event("accepted", request.request_id, {"budget_ms": budget_ms})
        case Guided(request=request, guidance=guidance):
            hint = in_locale("guidance", guidance.value, request.locale)
            return request.till, _event(
                "guidance", request.request_id, {"guidance": guidance.value, "hint": hint}
            )
        case Staged(request=request, stage=stage):
            return request.till, _event("stage", request.request_id, {"stage": stage})
        case RefusedEvent(till=till, request_id=request_id, refusal=refusal, detail=detail):
            hint = in_locale("refusal", refusal.value, None)
            more = {"refusal": refusal.value, "detail": detail[:300], "hint": hint}
            also = {"result_id": value.result_id, "asks": value.asks}
            return till, _event(
                "refused", request_id, more | {k: v for k, v in also.items() if v is not None}
            )


def _event(name: str, request_id: str | None, more: dict[str, Any]) -> bytes:
    return dumps({"schema": "facepay.event/1", "event": name, "request_id": request_id, **more}).encode()


def state(status: str, who: TerminalIdentity, more: dict[str, Any] | None = None) -> bytes:
    """The retained state; ``status`` is online, degraded, stopping or offline (the last will)."""
    tree = {
        "schema": "facepay.state/1",
        "status": status,
        "site": who.site,
        "terminal": who.terminal,
        "boot_id": who.boot_id,
        "epoch": who.epoch,
    }
    return dumps(tree | (more or {})).encode()


def health(who: TerminalIdentity, more: dict[str, Any]) -> bytes:
    """For the back office: counters and timings since this process started; see the contract."""
    tree = {
        "schema": "facepay.health/1",
        "site": who.site,
        "terminal": who.terminal,
        "boot_id": who.boot_id,
        "epoch": who.epoch,
    }
    return dumps(tree | more).encode()


def rfc3339(unix_ms: int) -> str:
    """UTC with milliseconds and a Z."""
    moment = datetime.fromtimestamp(unix_ms / 1e3, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
