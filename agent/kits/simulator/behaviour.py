"""How a simulated terminal answers one request: each fault of a script, put on the wire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.core.model import Assurance, Comparison, Request, Result, Timings
from agent.core.ports import Guided, Staged, StoredResult
from agent.core.reasons import Decision, Guidance, Reason, Refusal
from agent.kits.simulator.forgery import forged
from agent.kits.simulator.script import FORGED, ScriptStep, SimulatedFault, decision_of

if TYPE_CHECKING:
    from agent.kits.simulator.terminal import SimulatedTerminal

LATE_BY_MS = 300  # after the till's own timer, which started before ours
CANCEL_MARGIN_MS = 500
THRESHOLD = 80.0
SIMILARITY = {Decision.MATCH: 93.0, Decision.NO_MATCH: 31.0}
ASSURANCE = Assurance(camera="simulated", transport="plain")


async def perform(
    body: SimulatedTerminal, request: Request, step: ScriptStep, cancelled: asyncio.Event
) -> None:
    """All that follows an accepted request. Ends when the till has its answer, or its time is up."""
    for stored in body.held.pop(request.till, []):
        await body.send(stored.till, stored.payload)
    await body.till.tell(Guided(request, Guidance.LOOK_HERE))
    await body.till.tell(Staged(request, "comparing"))
    if step.fault is SimulatedFault.IGNORES_CANCEL:
        await _until(cancelled, request.deadline_ms - CANCEL_MARGIN_MS - body.clock.now_ms())
    elif await _until(cancelled, step.delay_ms):
        stored = await body.settle(outcome(request, ScriptStep(reason=Reason.CANCELLED)))
        await body.till.deliver(stored)
        return
    body.before(step.fault)
    await _act(body, request, step)


async def _act(body: SimulatedTerminal, request: Request, step: ScriptStep) -> None:
    if step.fault is SimulatedFault.SILENT:
        await _time_is_up(body, request)
        return
    if step.fault is SimulatedFault.CRASH_EARLY:
        await body.restart()
        await body.till.deliver(await body.settle(outcome(request, ScriptStep(reason=Reason.INTERRUPTED))))
        await _time_is_up(body, request)
        return
    stored = await body.settle(outcome(request, step))
    match step.fault:
        case SimulatedFault.NONE | SimulatedFault.IGNORES_CANCEL:
            await body.till.deliver(stored)
        case SimulatedFault.DUPLICATE:
            await body.send(stored.till, stored.payload)
            await body.till.deliver(stored)
        case SimulatedFault.CRASH:
            await body.crash(stored)
            await _time_is_up(body, request)
        case SimulatedFault.ROTATED:
            body.rotate()
            await body.restart()  # the outbox sends it, with the signature it was stored with
            await _time_is_up(body, request)
        case SimulatedFault.UNKNOWN_DECISION:
            await body.forget(stored)
            await body.send(stored.till, forged(stored.payload, step.fault, body.key, body.stranger))
            await _time_is_up(body, request)
        case fault if fault in FORGED:
            stranger = body.previous if fault is SimulatedFault.OLD_KEY else body.stranger
            await body.send(stored.till, forged(stored.payload, fault, body.key, stranger))
            await asyncio.sleep(step.delay_ms / 1e3)
            await body.till.deliver(stored)
        case fault:
            await body.forget(stored)
            await _withheld(body, request, stored, fault)


async def _withheld(
    body: SimulatedTerminal, request: Request, stored: StoredResult, fault: SimulatedFault
) -> None:
    """A true result that comes too late, otherwise than it should, or not at all."""
    match fault:
        case SimulatedFault.LATE:
            await _time_is_up(body, request)
            await body.send(stored.till, stored.payload)
        case SimulatedFault.REORDER:
            await _time_is_up(body, request)
            body.held[stored.till].append(stored)
        case SimulatedFault.EXPIRED:
            words = "a match came too late"
            await body.refuse(request, Refusal.RESULT_EXPIRED, words, result_id=stored.result_id)
            await _time_is_up(body, request)
        case SimulatedFault.RETAINED:
            await body.send(stored.till, stored.payload, retained=True)
            await _time_is_up(body, request)
            await body.send(stored.till, b"", retained=True)  # takes the retained one away


def outcome(request: Request, step: ScriptStep) -> Result:
    """The true result a step stands for."""
    decision = decision_of(step.reason)
    likely = SIMILARITY.get(decision)
    similarity = likely if step.similarity is None else step.similarity
    compared = None
    if likely is not None and similarity is not None:
        compared = Comparison(similarity, THRESHOLD, "simulated")
    timings = Timings(total=step.delay_ms)
    asks = int(compared is not None)
    return Result(request, decision, step.reason, asks, compared, timings, ASSURANCE)


async def _until(event: asyncio.Event, wait_ms: int) -> bool:
    """Whether it came within that time."""
    try:
        async with asyncio.timeout(max(0, wait_ms) / 1e3):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _time_is_up(body: SimulatedTerminal, request: Request) -> None:
    """Wait until the till's own timer has surely ended."""
    over_ms = request.received_ms + request.ttl_ms + LATE_BY_MS
    await asyncio.sleep(max(0, over_ms - body.clock.now_ms()) / 1e3)
