"""Transitions between the states of a verification. ``verification`` decides which transition applies."""

from dataclasses import replace

from agent.core.model import Analysis, Comparison, Shot
from agent.core.reasons import Decision, Reason
from agent.core.turn_path import evidence_count
from agent.core.verification_types import (
    CallAnswered,
    CallFailed,
    CancelCall,
    Challenging,
    Comparing,
    Finished,
    Holding,
    Limits,
    LivenessProgress,
    OpenState,
    Report,
    Seeking,
    StartCall,
    Step,
    TrackGap,
    Waiting,
)
from agent.errors import Retry

# Reasons of a call that revoke a passed challenge: the analyzer did not find one person in the challenge and
# the shot, or had no model to compare them.
_NOT_ONE_PERSON = frozenset({Reason.FACE_SWAPPED, Reason.LIVENESS_NOT_COMPLETED, Reason.MODEL_UNUSABLE})


def seek(state: OpenState, newest: Reason, not_before_ms: int) -> Seeking:
    """Reset liveness for the next face, but keep the number of attempts used."""
    liveness = LivenessProgress(attempts=state.context.liveness.attempts)
    return Seeking(replace(state.context, liveness=liveness), newest, not_before_ms)


def hold(state: Seeking | Challenging | Holding, shot: Shot, at_ms: int, limits: Limits) -> Step:
    """Hold the shot until a second frame confirms the track: a single frame is never enough.

    After a passed challenge, earlier frames have confirmed the track already, and the hold ends with the
    time limit of the challenge: the shot must follow the last turn.
    """
    until_ms = at_ms + limits.hold_ms
    if isinstance(state, Challenging):
        until_ms = min(until_ms, state.progress.until_ms)
        if shot.quality.score >= limits.excellent_score:
            return start_call(state, shot, at_ms, limits)
    if until_ms <= at_ms:
        return start_call(state, shot, at_ms, limits)
    return Holding(state.context, shot, until_ms, TrackGap(shot.frame.captured_ms)), ()


def start_call(state: OpenState, shot: Shot, at_ms: int, limits: Limits) -> Step:
    """Start the next API call, or finish when the answer could not arrive before the deadline."""
    context = state.context
    has_evidence = len(shot.evidence) == evidence_count(limits.turns) and len(shot.paths) == limits.turns
    is_liveness_proved = context.liveness.passed and has_evidence
    if limits.turns and not is_liveness_proved:  # a second check: each caller has checked the liveness
        return finish(state, Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)
    last_error = state.last_error if isinstance(state, Waiting | Comparing) else None
    left_ms = context.deadline_ms - at_ms
    if left_ms < limits.min_ask_ms:
        return finish(state, Decision.UNDECIDED, last_error or Reason.TIMED_OUT)
    context = replace(context, asks=context.asks + 1)
    timeout_ms = min(limits.ask_timeout_ms, left_ms)
    gap = state.gap if isinstance(state, Holding | Comparing | Waiting) else TrackGap(shot.frame.captured_ms)
    after = Comparing(context, shot, at_ms + timeout_ms, gap, last_error)
    return after, (StartCall(context.asks, shot, timeout_ms),)


def call_failed(state: Comparing, event: CallFailed, limits: Limits) -> Step:
    """Apply the retry advice of the code table within the limits."""
    if event.reason in _NOT_ONE_PERSON:
        liveness = replace(state.context.liveness, passed=False)
        state = replace(state, context=replace(state.context, liveness=liveness))
    context = state.context
    give_up = finish(state, Decision.UNDECIDED, event.reason, event.api_code)
    if event.retry is Retry.NEVER or context.asks >= limits.max_asks:
        return give_up
    if event.retry is Retry.NEW_SHOT:
        return seek(state, event.reason, event.at_ms), ()
    if event.retry is Retry.RESIGN:
        if context.clock_retry_used:
            return give_up
        signed_again = replace(
            state, last_error=event.reason, context=replace(context, clock_retry_used=True)
        )
        return start_call(signed_again, state.best, event.at_ms, limits)
    pause_ms = limits.retry_pause_ms
    if event.retry is Retry.BACKOFF:
        pause_ms = round(pause_ms * 2 ** (context.asks - 1) * (1 + limits.jitter))
    until_ms = event.at_ms + max(1, pause_ms)
    if until_ms + limits.min_ask_ms > context.deadline_ms:
        return give_up  # the next answer could not arrive in time: finish now, not at the deadline
    return Waiting(context, state.best, until_ms, state.gap, event.reason), ()


def call_timed_out(state: Comparing, at_ms: int, limits: Limits) -> Step:
    """Cancel a call without an answer within its time limit. A later answer is ignored."""
    number = state.context.asks
    late = CallFailed(at_ms, number, Reason.COMPARE_UNREACHABLE, Retry.SAME)
    after, effects = call_failed(state, late, limits)
    return after, (CancelCall(number), *(e for e in effects if not isinstance(e, CancelCall)))


def start_over(state: Comparing | Waiting, at_ms: int, limits: Limits) -> Step:
    """The shot cannot be confirmed any more: seek a new shot while an API call is left for it."""
    if state.context.asks >= limits.max_asks:
        return finish(state, Decision.UNDECIDED, Reason.FACE_LOST)
    return seek(state, Reason.FACE_LOST, at_ms), _cancel_running(state)


def update_gap(gap: TrackGap, analysis: Analysis, track: int, limits: Limits) -> TrackGap:
    """The gap after one more frame, which shows ``track`` or no track."""
    newest_ms = max(gap.newest_ms, analysis.captured_ms)
    if analysis.track == track:
        return TrackGap(newest_ms)
    is_late = analysis.captured_ms - gap.newest_ms > limits.fresh_ms
    return TrackGap(newest_ms, gap.is_open or is_late or analysis.face is not None)


def judge_answer(state: Comparing, event: CallAnswered, limits: Limits) -> Step:
    """Decide by the answer. A match after a gap waits for a frame: another person may be present now."""
    answer = event.comparison
    if not 0.0 <= answer.similarity <= 100.0:  # true for NaN, because NaN fails every comparison
        return finish(state, Decision.UNDECIDED, Reason.COMPARE_MALFORMED)
    if not 0.0 < answer.threshold <= 100.0:  # a threshold of zero would match every face
        return finish(state, Decision.UNDECIDED, Reason.COMPARE_CONFIG)
    if answer.similarity >= answer.threshold:
        if state.gap.is_open or event.at_ms - state.gap.newest_ms > limits.fresh_ms:
            return replace(state, answer=event), ()
        return finish(state, Decision.MATCH, Reason.SAME_PERSON, answer.code, answer)
    return finish(state, Decision.NO_MATCH, Reason.DIFFERENT_PERSON, answer.code, answer)


def finish(
    state: OpenState,
    decision: Decision,
    reason: Reason,
    api_code: int | None = None,
    comparison: Comparison | None = None,
) -> Step:
    """Finish, cancel a running call, and report the result once."""
    context = state.context
    finished = Finished(decision, reason, context.asks, comparison, api_code, context.liveness)
    return finished, (*_cancel_running(state), Report(finished))


def confirm(state: Comparing, answered: CallAnswered, analysis: Analysis, limits: Limits) -> Step:
    """One more frame while a match waits.

    The shot's track confirms the match. After ``confirm_ms`` without confirmation, the face is lost. A frame
    that is much older than the answer does not confirm the payer.
    """
    if analysis.track == state.best.track and analysis.captured_ms >= answered.at_ms - limits.fresh_ms:
        answer = answered.comparison
        return finish(state, Decision.MATCH, Reason.SAME_PERSON, answer.code, answer)
    if analysis.captured_ms - answered.at_ms >= limits.confirm_ms:
        return finish(state, Decision.UNDECIDED, Reason.FACE_LOST)
    return state, ()


def _cancel_running(state: OpenState) -> tuple[CancelCall, ...]:
    """The order to cancel the API call that is running, if any."""
    is_running = isinstance(state, Comparing) and state.answer is None
    return (CancelCall(state.context.asks),) if is_running else ()
