"""The behaviour of a simulated terminal for one request: one branch for each fault of a script."""

from __future__ import annotations

import asyncio
import json
import uuid
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.core.model import Assurance, Comparison, Request, Result, Timings
from agent.core.ports import GuidanceEvent, StageEvent, StoredResult
from agent.core.reasons import Decision, Guidance, Reason, Refusal
from agent.kits.simulator.script import FORGED, ScriptStep, SimulatedFault, decision_of
from agent.kits.simulator.state_behaviour import send_state
from agent.messages.encode import dumps, envelope, rfc3339
from agent.messages.rotation import statement
from agent.messages.signing import Signer
from agent.messages.topics import EVENT
from agent.mqtt.paho_client import Message
from agent.texts import in_locale

if TYPE_CHECKING:
    from agent.kits.simulator.terminal import SimulatedTerminal

LATE_BY_MS = 300  # after the till's timer, which starts before the terminal's timer
JUST_LATE_BY_MS = 20  # longer than the error of a till's clock that counts in steps of 10 ms
CANCEL_MARGIN_MS = 500
THRESHOLD = 80.0
SIMILARITY = {Decision.MATCH: 93.0, Decision.NO_MATCH: 31.0}
ASSURANCE = Assurance(camera="simulated", transport="plain")

_FIRST_FORGED = FORGED - {SimulatedFault.UNKNOWN_DECISION} | {SimulatedFault.FORGED_BEFORE}
_WRONG: dict[SimulatedFault, dict[str, Any]] = {
    SimulatedFault.WRONG_REQUEST: {"request_id": "00000000-0000-4000-8000-000000000000"},
    SimulatedFault.WRONG_NONCE: {"nonce": "0" * 32},
    SimulatedFault.WRONG_SHA256: {"request_sha256": "0" * 64},
    SimulatedFault.WRONG_TERMINAL: {"terminal": "another-terminal"},
    SimulatedFault.WRONG_EPOCH: {"epoch": "0" * 32},
    SimulatedFault.UNKNOWN_DECISION: {"decision": "approved"},
}


async def perform(
    terminal: SimulatedTerminal, request: Request, step: ScriptStep, cancelled: asyncio.Event
) -> None:
    """Answer an accepted request with one fault. Ends after the result, or after the deadline."""
    for stored in terminal.held.pop(request.till, []):
        await terminal.send(stored.till, stored.payload)
    await terminal.till.publish(GuidanceEvent(request, Guidance.LOOK_HERE))
    await terminal.till.publish(StageEvent(request, "comparing"))
    if step.fault is SimulatedFault.IGNORES_CANCEL:
        await _wait(cancelled, request.deadline_ms - CANCEL_MARGIN_MS - terminal.clock.now_ms())
    elif await _wait(cancelled, step.delay_ms):
        stored = await terminal.settle(_outcome(request, ScriptStep(reason=Reason.CANCELLED)))
        await terminal.till.deliver(stored)
        return
    await terminal.before_answer(request, step.fault)
    await _apply_fault(terminal, request, step)


async def _apply_fault(terminal: SimulatedTerminal, request: Request, step: ScriptStep) -> None:
    if step.fault is SimulatedFault.CRASH_EARLY:
        await terminal.restart()
        step = ScriptStep(reason=Reason.INTERRUPTED, fault=step.fault)
    if step.fault is SimulatedFault.SILENT:
        await _wait_for_deadline(terminal, request)
        return
    stored = await terminal.settle(_outcome(request, step))
    match step.fault:
        case SimulatedFault.NONE | SimulatedFault.IGNORES_CANCEL:
            await terminal.till.deliver(stored)
            return
        case SimulatedFault.DUPLICATE:
            await terminal.send(stored.till, stored.payload)
            await terminal.till.deliver(stored)
            return
        case SimulatedFault.ADDITIONS:
            await terminal.till.deliver(await _with_additions(terminal, request, stored))
            return
        case SimulatedFault.FORGED_AFTER:
            await terminal.till.deliver(stored)
            await _wait_for_ack(terminal, request)
            await terminal.send(stored.till, _signed_by_another(terminal, stored, Reason.SAME_PERSON))
            return
        case fault if fault in _FIRST_FORGED:
            await terminal.send(stored.till, await _forgery(terminal, stored, fault))
            await asyncio.sleep(step.delay_ms / 1e3)
            await terminal.till.deliver(stored)
            return
        case SimulatedFault.CRASH_EARLY:
            await terminal.till.deliver(stored)
        case SimulatedFault.CRASH:
            await terminal.crash(stored)
        case SimulatedFault.ROTATED:
            await _rotate(terminal, stored)
        case fault:
            await terminal.outbox.close_result(stored.till, stored.result_id)  # never sent again
            await _withhold(terminal, request, stored, fault)
    await _wait_for_deadline(terminal, request)


async def _withhold(
    terminal: SimulatedTerminal, request: Request, stored: StoredResult, fault: SimulatedFault
) -> None:
    """Send a true result late, out of order, retained, or not at all."""
    match fault:
        case SimulatedFault.LATE:
            await _wait_for_deadline(terminal, request, JUST_LATE_BY_MS)
            await terminal.send(stored.till, stored.payload)
        case SimulatedFault.REORDER:
            await _wait_for_deadline(terminal, request)
            terminal.held[stored.till].append(stored)
        case SimulatedFault.EXPIRED:
            detail = "a match was too late"
            await terminal.refuse(request, Refusal.RESULT_EXPIRED, detail, result_id=stored.result_id)
        case SimulatedFault.RETAINED:
            await terminal.send(stored.till, stored.payload, retained=True)
            await _wait_for_deadline(terminal, request)
            await terminal.send(stored.till, b"", retained=True)  # removes the retained message
        case SimulatedFault.UNKNOWN_DECISION:
            payload = _forged(stored.payload, fault, terminal.key, terminal.unknown_key)
            await terminal.send(stored.till, payload)


async def _rotate(terminal: SimulatedTerminal, stored: StoredResult) -> None:
    """Restart with a new key; the result keeps its signature. ``state`` with the statement comes first."""
    terminal.rotate()
    await terminal.restart()
    await terminal.wait_for_connection()
    await terminal.till.state.announce()
    await terminal.till.deliver(stored)


async def _with_additions(
    terminal: SimulatedTerminal, request: Request, stored: StoredResult
) -> StoredResult:
    """Send messages with unknown parts. Returns the result with an unknown field.

    The unknown event has a ``result_id``: only result_expired requires an acknowledgement.
    """
    unknown = {"added_later": {"value": 1}}
    await send_state(terminal, unknown)
    head = {"schema": "facepay.event/1", "request_id": request.request_id}
    events: tuple[dict[str, Any], ...] = (
        {"event": "added_later", "result_id": str(uuid.uuid4())},
        {"event": "stage", "stage": "added_later"},
        {"event": "stage", "stage": "waiting"} | unknown,
    )
    for event in events:
        topic = terminal.till.topics.verify(request.till, EVENT)
        await terminal.till.connection.publish(Message(topic, dumps(head | event).encode()))
    tree = json.loads(json.loads(stored.payload)["result"]) | unknown
    return replace(stored, payload=envelope("result", tree, terminal.key))


async def _forgery(terminal: SimulatedTerminal, stored: StoredResult, fault: SimulatedFault) -> bytes:
    """The payload to send before a true result. For a forged rotation its ``state`` is published first."""
    unknown_key = terminal.previous if fault is SimulatedFault.OLD_KEY else terminal.unknown_key
    if fault is SimulatedFault.FORGED_BEFORE:
        return _signed_by_another(terminal, stored, Reason.DIFFERENT_PERSON)
    if fault is SimulatedFault.FORGED_ROTATION:
        issued_at, who = rfc3339(terminal.clock.unix_ms()), terminal.identity
        tree = statement(unknown_key, unknown_key, site=who.site, terminal=who.terminal, issued_at=issued_at)
        rotation = json.loads(envelope("rotation", tree, unknown_key))
        key = {"kid": unknown_key.key_id, "sha256": unknown_key.fingerprint, "rotation": rotation}
        await send_state(terminal, {"key": key}, unknown_key)
    return _forged(stored.payload, fault, terminal.key, unknown_key)


def _signed_by_another(terminal: SimulatedTerminal, stored: StoredResult, reason: Reason) -> bytes:
    """A result with the ids of a true result, another reason, and the signature of an unknown key."""
    changes = {"decision": decision_of(reason).value, "reason": reason.value}
    return envelope(
        "result", json.loads(json.loads(stored.payload)["result"]) | changes, terminal.unknown_key
    )


def _forged(true: bytes, fault: SimulatedFault, own: Signer, unknown_key: Signer) -> bytes:
    """The payload of a match with one fault of ``script.FORGED``; a till must detect the fault.

    ``true``: the payload of a result that is not a match. The till has pinned ``own``, not ``unknown_key``.
    """
    inner = json.loads(true)["result"]
    compare = {"provider": "simulated", "session_id": "", "code": 0, "threshold": 80.0, "similarity": 99.0}
    tree: dict[str, Any] = json.loads(inner) | {
        "result_id": str(uuid.uuid4()),
        "decision": Decision.MATCH.value,
        "reason": Reason.SAME_PERSON.value,
        "hint": in_locale("reason", Reason.SAME_PERSON.value, None),
        "compare": compare,
    }
    match fault:
        case SimulatedFault.UNSIGNED:
            return envelope("result", tree, None)
        case SimulatedFault.WRONG_SIGNATURE | SimulatedFault.OLD_KEY | SimulatedFault.FORGED_ROTATION:
            return envelope("result", tree, unknown_key)
        case SimulatedFault.WRONG_KID:
            signer = copy(own)
            signer.key_id = unknown_key.key_id
            return envelope("result", tree, signer)
        case SimulatedFault.WRONG_KIND:
            text = dumps(tree)
            return dumps({"result": text, "jws": own.sign(text, "cancel")}).encode()
        case SimulatedFault.ALTERED:
            return dumps({"result": dumps(tree), "jws": own.sign(inner, "result")}).encode()
    return envelope("result", tree | _WRONG[fault], own)


def _outcome(request: Request, step: ScriptStep) -> Result:
    decision = decision_of(step.reason)
    compared = None
    if decision in SIMILARITY:
        similarity = SIMILARITY[decision] if step.similarity is None else step.similarity
        compared = Comparison(similarity, THRESHOLD, "simulated")
    timings = Timings(total=step.delay_ms)
    calls = int(compared is not None)
    return Result(request, decision, step.reason, calls, compared, timings, ASSURANCE, calls=calls)


async def _wait(event: asyncio.Event, wait_ms: int) -> bool:
    try:
        async with asyncio.timeout(max(0, wait_ms) / 1e3):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _wait_for_ack(terminal: SimulatedTerminal, request: Request) -> None:
    """Wait until no result is open, at most for half of the request's time."""
    end_ms = request.received_ms + request.ttl_ms // 2
    while terminal.till.result_sender.open_count and terminal.clock.now_ms() < end_ms:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.02)


async def _wait_for_deadline(
    terminal: SimulatedTerminal, request: Request, late_by_ms: int = LATE_BY_MS
) -> None:
    """Wait until the till's timer has ended: it starts before the request is received."""
    end_ms = request.received_ms + request.ttl_ms + late_by_ms
    await asyncio.sleep(max(0, end_ms - terminal.clock.now_ms()) / 1e3)
