"""From the end of a verification to its stored result, its counters and its conditions."""

from __future__ import annotations

import logging
from dataclasses import replace

from agent.core.model import Assurance, Liveness, Request, Result, Timings
from agent.core.ports import Ledger, StoredResult
from agent.core.reasons import Decision, Reason
from agent.core.steps import Finished
from agent.errors import StorageError
from agent.health.condition_tracker import CAMERA, COMPARE, JUDGED, ConditionTracker
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
    if result.decision is Decision.UNDECIDED and result.reason not in CAMERA:  # the frame loop raises CAMERA
        code: str = result.reason
        if code in JUDGED:  # the newest answer of the API decides
            conditions.clear(*(other for other in COMPARE if other != code))
        elif result.reason is Reason.COMPARE_UNREACHABLE:
            code, other = ("compare_slow", code) if is_slow else (code, "compare_slow")
            conditions.clear(other)
        conditions.raise_(code)
    if result.comparison is not None:
        conditions.clear(*COMPARE, "model_unusable")  # an answer proves that the detector made a shot
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
