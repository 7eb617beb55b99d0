"""The ways from one state of a verification to the next. Which one is taken, ``verification`` decides."""

from __future__ import annotations

from dataclasses import replace

from agent.core.model import Analysis, Comparison, Shot
from agent.core.reasons import Decision, Reason
from agent.core.steps import (
    CallAnswered,
    CallFailed,
    CancelCall,
    Challenging,
    Comparing,
    Finished,
    Holding,
    Limits,
    LivenessProgress,
    Report,
    Seeking,
    Sight,
    StartCall,
    Step,
    Waiting,
)
from agent.errors import Retry


def seek(
    state: Seeking | Challenging | Holding | Comparing | Waiting, newest: Reason, not_before_ms: int
) -> Seeking:
    """Whoever comes next has proved nothing yet; the tries that were begun stay begun."""
    live = LivenessProgress(tries=state.live.tries)
    return Seeking(state.deadline_ms, state.asked, newest, not_before_ms, state.resigned, live)


def hold(state: Seeking | Challenging | Holding, shot: Shot, at_ms: int, limits: Limits) -> Step:
    """Nobody is sent at first sight; only who has passed a challenge is known from other frames already."""
    is_known = isinstance(state, Challenging)
    if limits.hold_ms == 0 or (is_known and shot.quality.score >= limits.excellent_score):
        return ask(state, shot, at_ms, limits)
    until_ms = at_ms + limits.hold_ms
    sight = Sight(shot.frame.captured_ms)
    return Holding(state.deadline_ms, state.asked, shot, until_ms, sight, state.resigned, state.live), ()


def ask(
    state: Seeking | Challenging | Holding | Comparing | Waiting, shot: Shot, at_ms: int, limits: Limits
) -> Step:
    if limits.turns and not state.live.passed:  # every way here has seen to that; this is the lock
        return finish(state, Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)
    left_ms = state.deadline_ms - at_ms
    if left_ms < limits.min_ask_ms:
        trouble = state.trouble if isinstance(state, Waiting | Comparing) else None
        return finish(state, Decision.UNDECIDED, trouble or Reason.TIMED_OUT)
    number = state.asked + 1
    timeout_ms = min(limits.ask_timeout_ms, left_ms)
    trouble = state.trouble if isinstance(state, Waiting | Comparing) else None
    until_ms = at_ms + timeout_ms
    sight = state.sight if isinstance(state, Holding | Comparing | Waiting) else Sight(shot.frame.captured_ms)
    after = Comparing(state.deadline_ms, number, shot, until_ms, sight, trouble, state.resigned, state.live)
    return after, (StartCall(number, shot, timeout_ms),)


def ask_failed(state: Comparing, event: CallFailed, limits: Limits) -> Step:
    """Advice comes from the code table; whether it fits the limits is decided here."""
    give_up = finish(state, Decision.UNDECIDED, event.reason, event.api_code)
    if event.retry is Retry.NEVER or state.asked >= limits.max_asks:
        return give_up
    if event.retry is Retry.NEW_SHOT:
        return seek(state, event.reason, event.at_ms), ()
    if event.retry is Retry.RESIGN:
        if state.resigned:
            return give_up
        again = replace(state, trouble=event.reason, resigned=True)
        return ask(again, state.best, event.at_ms, limits)
    pause_ms = limits.retry_pause_ms
    if event.retry is Retry.BACKOFF:
        pause_ms = round(pause_ms * 2 ** (state.asked - 1) * (1 + limits.jitter))
    until_ms = event.at_ms + max(1, pause_ms)
    if until_ms + limits.min_ask_ms > state.deadline_ms:
        return give_up  # the next answer could not arrive in time: say so now, not at the deadline
    return Waiting(
        state.deadline_ms,
        state.asked,
        state.best,
        until_ms,
        state.sight,
        event.reason,
        state.resigned,
        state.live,
    ), ()


def ask_timed_out(state: Comparing, at_ms: int, limits: Limits) -> Step:
    """No answer in this question's time: whatever comes of it, nobody waits for it any more."""
    late = CallFailed(at_ms, state.asked, Reason.COMPARE_UNREACHABLE, Retry.SAME)
    after, effects = ask_failed(state, late, limits)
    return after, (CancelCall(state.asked), *(e for e in effects if not isinstance(e, CancelCall)))


def start_over(state: Comparing | Waiting, at_ms: int, limits: Limits) -> Step:
    """The shot cannot be confirmed any more: another one is taken, as long as a question is left for it."""
    if state.asked >= limits.max_asks:
        return finish(state, Decision.UNDECIDED, Reason.FACE_LOST)
    open_ask = (CancelCall(state.asked),) if _is_open(state) else ()
    return seek(state, Reason.FACE_LOST, at_ms), open_ask


def sighted(sight: Sight, seen: Analysis, track: int, limits: Limits) -> Sight:
    """The sight of the payer after one more frame of no other track than ``track``."""
    newest_ms = max(sight.newest_ms, seen.captured_ms)
    if seen.track == track:
        return Sight(newest_ms)
    is_gap = seen.captured_ms - sight.newest_ms > limits.fresh_ms
    return Sight(newest_ms, sight.is_open or is_gap or seen.face is not None)


def judge(state: Comparing, event: CallAnswered, limits: Limits) -> Step:
    """A match that follows a gap waits for a frame: in the gap another person may have stepped in."""
    answer = event.comparison
    if not 0.0 <= answer.similarity <= 100.0:  # NaN fails every comparison, so it lands here
        return finish(state, Decision.UNDECIDED, Reason.COMPARE_MALFORMED)
    if not 0.0 < answer.threshold <= 100.0:  # a threshold of zero would match everybody
        return finish(state, Decision.UNDECIDED, Reason.COMPARE_CONFIG)
    if answer.similarity >= answer.threshold:
        if state.sight.is_open or event.at_ms - state.sight.newest_ms > limits.fresh_ms:
            return replace(state, answer=event), ()
        return finish(state, Decision.MATCH, Reason.SAME_PERSON, answer.code, answer)
    return finish(state, Decision.NO_MATCH, Reason.DIFFERENT_PERSON, answer.code, answer)


def finish(
    state: Seeking | Challenging | Holding | Comparing | Waiting,
    decision: Decision,
    reason: Reason,
    api_code: int | None = None,
    comparison: Comparison | None = None,
) -> Step:
    done = Finished(decision, reason, state.asked, comparison, api_code, state.live)
    open_ask = (CancelCall(state.asked),) if _is_open(state) else ()
    return done, (*open_ask, Report(done))


def confirm(state: Comparing, answered: CallAnswered, seen: Analysis, limits: Limits) -> Step:
    """One more frame while a match waits: the shot's track confirms it; too many others, the face is lost."""
    if seen.track == state.best.track and seen.captured_ms >= answered.at_ms - limits.fresh_ms:
        answer = answered.comparison
        return finish(state, Decision.MATCH, Reason.SAME_PERSON, answer.code, answer)
    if seen.captured_ms - answered.at_ms >= limits.confirm_ms:
        return finish(state, Decision.UNDECIDED, Reason.FACE_LOST)
    return state, ()


def _is_open(state: Seeking | Challenging | Holding | Comparing | Waiting) -> bool:
    """Whether a question is on the wire."""
    return isinstance(state, Comparing) and state.answer is None
