"""From a verification's end to its one stored result, and what that says about the terminal."""

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
    """A verification that breaks is one more undecided: no accepted request may stay without a result."""
    try:
        return await verification.run()
    except Exception:
        log.exception("bug_in_verification")
        broken = Finished(Decision.UNDECIDED, Reason.INTERNAL_ERROR, asks=0)
        spent_ms = verification.tools.clock.now_ms() - verification.request.received_ms
        return VerificationOutcome(broken, Timings(total=spent_ms))


def liveness_of(done: Finished) -> Liveness:
    """``passed`` only when a challenge was, on the very track whose shot was sent, and nothing objected."""
    if done.reason is Reason.LIVENESS_FAILED:
        return "failed"
    return "passed" if done.live.passed else "not_checked"


def result_of(request: Request, outcome: VerificationOutcome, assurance: Assurance) -> Result:
    """A result is kept for counters and traces, so its request has no picture any more."""
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
    """A result that cannot be written, and not on the disk's account, is one more undecided, too."""
    try:
        return result, await ledger.settle(result)
    except StorageError:
        raise
    except Exception:
        log.exception("bug_in_result")
        broken = Finished(Decision.UNDECIDED, Reason.INTERNAL_ERROR, result.asks)
        plain = result_of(
            result.request, VerificationOutcome(broken, result.timings, calls=result.calls), result.assurance
        )
        return plain, await ledger.settle(plain)


def count(result: Result, counters: Counters, conditions: ConditionTracker, *, is_slow: bool = False) -> None:
    """Add a settled result to the counters; what it shows about the terminal becomes a condition.

    ``is_slow``: the newest API call was sent and not answered in time. The network is not at fault then.
    """
    counters.ended(result)
    if result.decision is Decision.UNDECIDED and result.reason not in CAMERA:  # those the frame loop keeps
        code: str = result.reason
        if code in JUDGED:  # the newest answer of the API counts
            conditions.clear(*(other for other in COMPARE if other != code))
        elif result.reason is Reason.COMPARE_UNREACHABLE:
            code, other = ("compare_slow", code) if is_slow else (code, "compare_slow")
            conditions.clear(other)
        conditions.raise_(code)
    if result.comparison is not None:
        conditions.clear(*COMPARE, "model_unusable")  # an answer proves that a shot was made, too
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
