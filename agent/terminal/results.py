"""The answers of a terminal: results, which are stored before they are published, and refusals."""

import logging
from dataclasses import replace

from agent.core.frame_log import FrameLog
from agent.core.model import Assurance, Liveness, LivenessCheck, Request, Result, Timings
from agent.core.ports import RefusedEvent, StoredResult
from agent.core.reasons import Decision, Reason, Refusal
from agent.core.verification_types import Finished
from agent.errors import StorageError
from agent.health import conditions_camera
from agent.health.condition import Condition
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions import condition_of
from agent.health.conditions_board import MODEL_UNUSABLE, STORAGE_UNAVAILABLE
from agent.health.conditions_compare import (
    CLEARED_BY_ANSWER,
    COMPARE_NOT_API,
    COMPARE_SLOW,
    COMPARE_UNREACHABLE,
    REPORTED_BY_API,
)
from agent.health.conditions_till import REQUESTS_REFUSED
from agent.health.counters import Counters
from agent.health.result_meter import RESULT_CONDITIONS, ResultMeter
from agent.health.till_meter import TillMeter
from agent.log import facts
from agent.terminal.parts import Ports, Settings
from agent.terminal.verification_runner import VerificationOutcome
from agent.texts import Text

log = logging.getLogger(__name__)

FAULTS_OF_TILL = frozenset(
    {
        Refusal.REQUEST_MALFORMED,
        Refusal.REQUEST_TOO_LARGE,
        Refusal.REQUEST_STALE,
        Refusal.SCHEMA_UNSUPPORTED,
        Refusal.ID_CONFLICT,
        Refusal.CONSENT_MISSING,
        Refusal.SIGNATURE_MISSING,
        Refusal.SIGNATURE_INVALID,
    }
)
"""Refusals that return with each further request until a person corrects the till or this terminal."""
BUGS = frozenset({Refusal.NOT_READY})
"""Refusals after an exception of a bug of this agent."""
PASSING_REFUSALS = frozenset(
    {
        Refusal.BUSY,
        Refusal.REQUEST_RETAINED,  # a broker delivers one old message again at each connect
        Refusal.RATE_LIMITED,
        Refusal.RESULT_EXPIRED,
        Refusal.UNKNOWN_REQUEST,
        Refusal.STOPPING,
        Refusal.STORAGE_UNAVAILABLE,  # a condition of its own
    }
)
"""Refusals that show no fault which lasts."""


def liveness_of(finished: Finished) -> Liveness:
    """``passed`` only after a passed challenge on the track of a shot that the API has compared.

    The faces of the challenge are compared immediately before the call. So a verification that ends earlier
    has checked a part of the liveness only.
    """
    if finished.reason is Reason.LIVENESS_FAILED:
        return "failed"
    return "passed" if finished.liveness.passed and finished.comparison is not None else "not_checked"


def checks_of(finished: Finished, in_use: tuple[LivenessCheck, ...]) -> tuple[LivenessCheck, ...]:
    """The checks that the shot has passed before the API compared it; none without a comparison."""
    if finished.comparison is None:
        return ()
    return tuple(check for check in in_use if check == "passive" or finished.liveness.passed)


def result_of(request: Request, outcome: VerificationOutcome, assurance: Assurance) -> Result:
    """The result, without the reference photo: counters and traces store the result."""
    finished = outcome.finished
    return Result(
        request=replace(request, reference=replace(request.reference, image=None)),
        decision=finished.decision,
        reason=finished.reason,
        asks=finished.asks,
        comparison=finished.comparison,
        timings=outcome.timings,
        assurance=replace(
            assurance,
            liveness=liveness_of(finished),
            liveness_checks=checks_of(finished, assurance.liveness_checks),
        ),
        api_code=finished.api_code,
        calls=outcome.calls,
    )


def interrupted_result(request: Request, assurance: Assurance, max_calls: int) -> Result:
    """The result of a claim without an open verification. The record of its API calls is lost.

    ``max_calls``: the possible maximum, which counts as sent.
    """
    finished = Finished(Decision.UNDECIDED, Reason.INTERRUPTED, asks=0)
    return result_of(request, VerificationOutcome(finished, Timings(), calls=max_calls), assurance)


def api_condition(code: str, api_code: int | None, *, of_check: bool = False) -> Condition | None:
    """The condition that the outcome of an API call shows; None when it shows none.

    Args:
        code: of the error, or the reason of the result.
        api_code: None: the answer had no code of the API.
        of_check: the call was the agent's own check, without a picture. Then an answer ``compare_failed``
            without a code shows another server, too. In a verification it can be one fault of a gateway.
    """
    reasons_of_other_server = (
        (Reason.COMPARE_MALFORMED, Reason.COMPARE_FAILED) if of_check else (Reason.COMPARE_MALFORMED,)
    )
    if code in reasons_of_other_server and api_code is None:
        return COMPARE_NOT_API
    return condition_of(code)


def raise_api_condition(
    conditions: ConditionTracker, condition: Condition, *, is_slow: bool = False, detail: str | Text = ""
) -> None:
    """Raise the condition and clear those that it disproves: the newest answer of the API counts."""
    group: tuple[Condition, ...] = CLEARED_BY_ANSWER if condition in REPORTED_BY_API else ()
    if condition == COMPARE_UNREACHABLE:
        condition, group = COMPARE_SLOW if is_slow else condition, (COMPARE_SLOW, COMPARE_UNREACHABLE)
    conditions.raise_only(condition, group, detail)


class Results:
    """Stores, counts and delivers results; publishes refusals. ``settings`` may be replaced."""

    def __init__(
        self, ports: Ports, settings: Settings, counters: Counters, conditions: ConditionTracker
    ) -> None:
        self._claim_store, self._till = ports.claim_store, ports.till
        self.settings, self._counters, self._conditions = settings, counters, conditions
        self._meter, self.tills, self._clock = ResultMeter(), TillMeter(), ports.clock

    async def store(self, result: Result) -> tuple[Result, StoredResult]:
        """Store the result. After an exception other than ``StorageError``, store an internal error instead.

        Raises ``StorageError``: nothing is stored.
        """
        try:
            return result, await self._claim_store.settle(result)
        except StorageError:
            raise
        except Exception:
            log.exception("bug_in_result")
            finished = Finished(Decision.UNDECIDED, Reason.INTERNAL_ERROR, result.asks)
            outcome = VerificationOutcome(finished, result.timings, calls=result.calls)
            undecided = result_of(result.request, outcome, result.assurance)
            return undecided, await self._claim_store.settle(undecided)

    async def deliver(
        self, result: Result, stored: StoredResult, frame_log: FrameLog, *, is_slow: bool = False
    ) -> None:
        """Count a stored result, then publish it.

        ``is_slow``: the newest API call was sent and not answered in time, so the network is not the cause.
        """
        self._record(result, frame_log, is_slow=is_slow)
        await self._till.deliver(stored)

    async def settle_interrupted(self, request: Request) -> None:
        """Settle a claim without an open verification as interrupted. Raises ``StorageError``."""
        result = interrupted_result(request, self.settings.assurance, self.settings.limits.max_asks)
        stored = await self._claim_store.settle(result)  # a result that is stored already wins
        self._record(result, FrameLog())
        await self._till.deliver(stored, again=True)

    async def refuse(
        self, till: str, request_id: str | None, refusal: Refusal, detail: str, asks: int | None = None
    ) -> None:
        """``asks``: API calls made for a request that was accepted and whose result could not be stored."""
        self._counters.refusals[refusal] += 1
        log.info("refused", extra=facts(till=till, request_id=request_id, refusal=refusal, detail=detail))
        if refusal in FAULTS_OF_TILL:
            self.tills.add(till, refusal, self._clock.now_ms())
        elif refusal in BUGS:
            self._meter.add_bug(refusal, self._clock.now_ms())
        self.show_faults()
        await self._till.publish(RefusedEvent(till, request_id, refusal, detail, asks=asks))

    def show_faults(self) -> None:
        """Raise or clear the conditions of tills and verifications with faults in a row.

        To be called at intervals: a fault can end by time alone.
        """
        faults = self.tills.faults(self._clock.now_ms())
        self._conditions.update(REQUESTS_REFUSED, bool(faults), faults)
        failing = self._meter.faults(self._clock.now_ms())
        for condition in RESULT_CONDITIONS:
            self._conditions.update(condition, condition in failing, failing.get(condition, ""))

    async def refuse_unstored(self, result: Result, error: StorageError) -> None:
        """Refuse an accepted request whose result could not be stored, with the number of its API calls.

        The claim is durable: a repeat of the request, or a restart, settles the claim as ``interrupted``. A
        decision that is not stored is not published, because a crash could change the decision.
        """
        request, asks = result.request, result.calls
        log.error("result_not_stored", extra=facts(request_id=request.request_id, asks=asks, why=error))
        self._conditions.raise_(STORAGE_UNAVAILABLE)
        detail = f"ended undecided: the result could not be stored; {asks} API calls were made; {error}"
        await self.refuse(request.till, request.request_id, Refusal.STORAGE_UNAVAILABLE, detail, asks=asks)

    def _record(self, result: Result, frame_log: FrameLog, *, is_slow: bool = False) -> None:
        """Add a result to the counters, and raise or clear the conditions that the result shows."""
        conditions = self._conditions
        self._counters.record_result(result)
        condition = api_condition(result.reason, result.api_code)  # None for a decision
        now_ms, total_ms = self._clock.now_ms(), result.timings.total
        few_frames = "" if condition in conditions_camera.ROWS else frame_log.few_frames()
        if few_frames and condition == COMPARE_UNREACHABLE:
            condition = None  # the terminal itself was too slow for the call
        is_explained = any(condition in CLEARED_BY_ANSWER for condition in conditions.active)
        if condition is not None and condition not in conditions_camera.ROWS:  # the frame loop raises those
            raise_api_condition(conditions, condition, is_slow=is_slow)
        if result.comparison is not None:
            # an answer proves that the detector made a shot
            conditions.clear(*CLEARED_BY_ANSWER, MODEL_UNUSABLE)
        is_refused = self._requires_more(result)
        is_payer_late = result.reason is Reason.TIMED_OUT and frame_log.is_face_late(total_ms)
        is_explained = (is_explained or is_payer_late or is_refused) and not few_frames
        self._meter.add(result, now_ms, explained=is_explained, few_frames=few_frames)
        if is_refused:
            self.tills.add(result.request.till, result.reason, now_ms)
        else:
            self.tills.clear(result.request.till)
        self.show_faults()
        end = {"decision": result.decision, "reason": result.reason, "asks": result.asks}
        log.info("result", extra=facts(request_id=result.request.request_id, **end, total_ms=total_ms))

    def _requires_more(self, result: Result) -> bool:
        """Whether the request requires an assurance that this terminal does not offer.

        A camera that is too slow for the challenge ends a verification with the same reason.
        """
        is_offered = set(result.request.require) <= self.settings.assurances
        return result.reason is Reason.ASSURANCE_UNMET and not is_offered
