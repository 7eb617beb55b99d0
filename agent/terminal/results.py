"""From the end of a verification to its stored result, its counters and its conditions."""

from __future__ import annotations

import logging
from dataclasses import replace

from agent.core.model import Assurance, Liveness, Request, Result, Timings
from agent.core.ports import Ledger, StoredResult
from agent.core.reasons import Decision, Reason
from agent.core.steps import Finished
from agent.errors import StorageError
from agent.health import conditions_camera
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions import condition_of
from agent.health.conditions_board import MODEL_UNUSABLE
from agent.health.conditions_compare import (
    CLEARED_BY_ANSWER,
    COMPARE_SLOW,
    COMPARE_UNREACHABLE,
    REPORTED_BY_API,
)
from agent.health.counters import Counters
from agent.log import facts
from agent.terminal.verification_runner import Verification, VerificationOutcome

log = logging.getLogger(__name__)


async def outcome_of(verification: Verification) -> VerificationOutcome:
    """Run the verification. An exception becomes undecided, because each accepted request needs a result."""
    try:
        return await verification.run()
    except Exception:
        log.exception("bug_in_verification")
        finished = Finished(Decision.UNDECIDED, Reason.INTERNAL_ERROR, asks=0)
        total_ms = verification.tools.clock.now_ms() - verification.request.received_ms
        return VerificationOutcome(finished, Timings(total=total_ms))


def liveness_of(done: Finished) -> Liveness:
    """``passed`` only after a passed challenge on the track of the sent shot, and without an objection."""
    if done.reason is Reason.LIVENESS_FAILED:
        return "failed"
    return "passed" if done.liveness.passed else "not_checked"


def result_of(request: Request, outcome: VerificationOutcome, assurance: Assurance) -> Result:
    """The result, without the reference photo: counters and traces store the result."""
    done = outcome.finished
    reference = replace(request.reference, image=None)
    return Result(
        request=replace(request, reference=reference),
        decision=done.decision,
        reason=done.reason,
        asks=done.asks,
        comparison=done.comparison,
        timings=outcome.timings,
        assurance=replace(assurance, liveness=liveness_of(done)),
        api_code=done.api_code,
        calls=outcome.calls,
    )


async def stored_as(ledger: Ledger, result: Result) -> tuple[Result, StoredResult]:
    """Store the result.

    Raises ``StorageError``. After any other exception, store an internal error instead.
    """
    try:
        return result, await ledger.settle(result)
    except StorageError:
        raise
    except Exception:
        log.exception("bug_in_result")
        finished = Finished(Decision.UNDECIDED, Reason.INTERNAL_ERROR, result.asks)
        outcome = VerificationOutcome(finished, result.timings, calls=result.calls)
        undecided = result_of(result.request, outcome, result.assurance)
        return undecided, await ledger.settle(undecided)


def count(result: Result, counters: Counters, conditions: ConditionTracker, *, is_slow: bool = False) -> None:
    """Add a settled result to the counters, and raise or clear the conditions that the result shows.

    ``is_slow``: the newest API call was sent and not answered in time, so the network is not the cause.
    """
    counters.ended(result)
    condition = condition_of(result.reason) if result.decision is Decision.UNDECIDED else None
    if condition is not None and condition not in conditions_camera.ROWS:  # the frame loop raises those
        if condition in REPORTED_BY_API:  # the newest answer of the API counts
            conditions.clear(*(other for other in CLEARED_BY_ANSWER if other != condition))
        elif condition == COMPARE_UNREACHABLE:
            condition, other = (COMPARE_SLOW, condition) if is_slow else (condition, COMPARE_SLOW)
            conditions.clear(other)
        conditions.raise_(condition)
    if result.comparison is not None:
        conditions.clear(*CLEARED_BY_ANSWER, MODEL_UNUSABLE)  # an answer proves that the detector made a shot
    log.info(
        "result",
        extra=facts(
            request_id=result.request.request_id,
            decision=result.decision,
            reason=result.reason,
            asks=result.asks,
            total_ms=result.timings.total,
        ),
    )
