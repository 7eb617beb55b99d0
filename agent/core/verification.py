"""The verification state machine: one try to answer "is this the holder of the reference?".

Pure: ``advance(state, event, limits)`` returns the next state and what to do about it. Time enters as data
(``at_ms``, boot clock), randomness as ``Limits.jitter``; the runtime waits until ``wake_at(state)`` and sends
``Ticked``. The rules, safety first:

1. Finished is final: late news changes nothing, so exactly one ``Report`` ever leaves.
2. At or after the deadline the only outcome is UNDECIDED, whatever arrives.
3. MATCH only for a timely, well-formed, high-enough answer to the newest question; an answer to an older
   question is no answer.
4. Another face in the payer's place between shot and answer ends it: ``face_swapped``. A camera that fails
   then ends it too, because nobody can say who stands there.
5. A shot is held for a while so that a better one can replace it; an excellent one is sent at once. Losing
   the face, another track, or a second plausible payer during the hold starts over.
6. Every question is numbered and the number never restarts; at most ``max_asks`` are put, and none with less
   than ``min_ask_ms`` left, because its answer could not arrive.

::

              Looked(shot)            until passes              Answered(newest)
    Seeking ─────────────▶ Holding ─────────────▶ Comparing ─────────────▶ Finished(MATCH | NO_MATCH)
       ▲                     │ face lost            │     ▲
       ├─────────────────────┘                      ▼     │ until passes: ask again
       └───── AskFailed(new shot) ──────────────  Waiting ┘ ◀─ AskFailed(same, backoff) or ask timed out
    any ── Cancelled, deadline, broken reference ▶ Finished(UNDECIDED, reason)
"""

from __future__ import annotations

from agent.core.model import Comparison, Shot
from agent.core.reasons import Decision, FrameReason, Reason
from agent.core.steps import (
    Abandon,
    Answered,
    Ask,
    AskFailed,
    Broke,
    CameraFailed,
    Cancelled,
    Comparing,
    Event,
    Failed,
    Finished,
    Holding,
    Interrupted,
    Limits,
    Looked,
    Report,
    Seeking,
    State,
    Step,
    Ticked,
    Waiting,
)
from agent.errors import Retry

_LOST = frozenset(
    {FrameReason.NO_FACE, FrameReason.NO_PRESENCE, FrameReason.OFF_CENTRE, FrameReason.MULTIPLE_FACES}
)

_ENDED_BY = {
    Cancelled: Reason.CANCELLED,
    Interrupted: Reason.INTERRUPTED,
    Broke: Reason.INTERNAL_ERROR,
}


def begin(deadline_ms: int, not_before_ms: int = 0) -> Seeking:
    """A new verification. ``deadline_ms`` is the core's own: the till's less the publish margin.

    Frames captured before ``not_before_ms``, when the request arrived, are no shots: the question is who
    stands there now.
    """
    return Seeking(deadline_ms, asked=0, newest=Reason.CAMERA_UNAVAILABLE, not_before_ms=not_before_ms)


def wake_at(state: State) -> int:
    """When ``Ticked`` is due. A tick at this moment always changes the state."""
    match state:
        case Finished():
            raise ValueError("a finished verification waits for nothing")
        case Seeking():
            return state.deadline_ms
        case Holding() | Comparing() | Waiting():
            return min(state.until_ms, state.deadline_ms)


def advance(state: State, event: Event, limits: Limits) -> Step:
    """The next state and its effects. Total: every (state, event) pair is answered, none raises."""
    match state, event:
        case Finished(), _:
            return state, ()
        case _, Cancelled() | Interrupted() | Broke():
            return _finish(state, Decision.UNDECIDED, _ENDED_BY[type(event)])
        case _ if event.at_ms >= state.deadline_ms:
            return _finish(state, Decision.UNDECIDED, _reason_at_deadline(state))
        case _, Failed(reason=reason):
            return _finish(state, Decision.UNDECIDED, reason)
        case Seeking(), CameraFailed(reason=reason):
            return _seek(state, reason, state.not_before_ms), ()
        case Holding(), CameraFailed(reason=reason):
            return _seek(state, reason, event.at_ms), ()
        case _, CameraFailed(reason=reason):
            return _finish(state, Decision.UNDECIDED, reason)
        case Seeking(), Looked():
            return _look_while_seeking(state, event, limits)
        case Holding(), Looked():
            return _look_while_holding(state, event, limits)
        case Comparing() | Waiting(), Looked(analysis=seen):
            if seen.track is not None and seen.track != state.best.track:
                return _finish(state, Decision.UNDECIDED, Reason.FACE_SWAPPED)
            return state, ()
        case Holding(), Ticked() if event.at_ms >= state.until_ms:
            return _ask(state, state.best, event.at_ms, limits)
        case Waiting(), Ticked() if event.at_ms >= state.until_ms:
            return _ask(state, state.best, event.at_ms, limits)
        case Comparing(), Answered(ask=number, comparison=comparison) if number == state.asked:
            return _judge(state, comparison)
        case Comparing(), AskFailed(ask=number) if number == state.asked:
            return _ask_failed(state, event, limits)
        case Comparing(), Ticked() if event.at_ms >= state.until_ms:
            late = AskFailed(event.at_ms, state.asked, Reason.COMPARE_UNREACHABLE, Retry.SAME)
            after, effects = _ask_failed(state, late, limits)
            return after, (Abandon(state.asked), *(e for e in effects if not isinstance(e, Abandon)))
        case _:
            return state, ()  # a tick before its time, or news about an older question


def _look_while_seeking(state: Seeking, event: Looked, limits: Limits) -> Step:
    seen = event.analysis
    if seen.shot is not None and seen.captured_ms >= state.not_before_ms:
        return _hold(state, seen.shot, event.at_ms, limits)
    return _seek(state, _reason_of(seen.reason), state.not_before_ms), ()


def _look_while_holding(state: Holding, event: Looked, limits: Limits) -> Step:
    seen = event.analysis
    if seen.reason in _LOST:
        return _seek(state, _reason_of(seen.reason), event.at_ms), ()
    if seen.track is not None and seen.track != state.best.track:
        if seen.shot is None:
            return _seek(state, _reason_of(seen.reason), event.at_ms), ()
        return _hold(state, seen.shot, event.at_ms, limits)
    if seen.shot is not None and seen.shot.quality.score > state.best.quality.score:
        if seen.shot.quality.score >= limits.excellent_score:
            return _ask(state, seen.shot, event.at_ms, limits)
        return Holding(state.deadline_ms, state.asked, seen.shot, state.until_ms, state.resigned), ()
    return state, ()


def _seek(state: Seeking | Holding | Comparing, newest: Reason, not_before_ms: int) -> Seeking:
    return Seeking(state.deadline_ms, state.asked, newest, not_before_ms, state.resigned)


def _hold(state: Seeking | Holding, shot: Shot, at_ms: int, limits: Limits) -> Step:
    if shot.quality.score >= limits.excellent_score or limits.hold_ms == 0:
        return _ask(state, shot, at_ms, limits)
    return Holding(state.deadline_ms, state.asked, shot, at_ms + limits.hold_ms, state.resigned), ()


def _ask(state: Seeking | Holding | Comparing | Waiting, shot: Shot, at_ms: int, limits: Limits) -> Step:
    left_ms = state.deadline_ms - at_ms
    if left_ms < limits.min_ask_ms:
        trouble = state.trouble if isinstance(state, Waiting | Comparing) else None
        return _finish(state, Decision.UNDECIDED, trouble or Reason.TIMED_OUT)
    number = state.asked + 1
    timeout_ms = min(limits.ask_timeout_ms, left_ms)
    trouble = state.trouble if isinstance(state, Waiting | Comparing) else None
    after = Comparing(state.deadline_ms, number, shot, at_ms + timeout_ms, trouble, state.resigned)
    return after, (Ask(number, shot, timeout_ms),)


def _ask_failed(state: Comparing, event: AskFailed, limits: Limits) -> Step:
    """Advice comes from the code table; whether it fits the limits is decided here."""
    give_up = _finish(state, Decision.UNDECIDED, event.reason, event.api_code)
    if event.retry is Retry.NEVER or state.asked >= limits.max_asks:
        return give_up
    if event.retry is Retry.NEW_SHOT:
        return _seek(state, event.reason, event.at_ms), ()
    if event.retry is Retry.RESIGN:
        if state.resigned:
            return give_up
        again = Comparing(state.deadline_ms, state.asked, state.best, state.until_ms, event.reason, True)
        return _ask(again, state.best, event.at_ms, limits)
    pause_ms = limits.retry_pause_ms
    if event.retry is Retry.BACKOFF:
        pause_ms = round(pause_ms * 2 ** (state.asked - 1) * (1 + limits.jitter))
    until_ms = event.at_ms + max(1, pause_ms)
    if until_ms + limits.min_ask_ms > state.deadline_ms:
        return give_up  # the next answer could not arrive in time: say so now, not at the deadline
    return Waiting(state.deadline_ms, state.asked, state.best, until_ms, event.reason, state.resigned), ()


def _judge(state: Comparing, answer: Comparison) -> Step:
    if not 0.0 <= answer.similarity <= 100.0:  # NaN fails every comparison, so it lands here
        return _finish(state, Decision.UNDECIDED, Reason.COMPARE_MALFORMED)
    if not 0.0 < answer.threshold <= 100.0:  # a threshold of zero would match everybody
        return _finish(state, Decision.UNDECIDED, Reason.COMPARE_CONFIG)
    if answer.similarity >= answer.threshold:
        return _finish(state, Decision.MATCH, Reason.SAME_PERSON, answer.code, answer)
    return _finish(state, Decision.NO_MATCH, Reason.DIFFERENT_PERSON, answer.code, answer)


def _finish(
    state: Seeking | Holding | Comparing | Waiting,
    decision: Decision,
    reason: Reason,
    api_code: int | None = None,
    comparison: Comparison | None = None,
) -> Step:
    done = Finished(decision, reason, state.asked, comparison, api_code)
    open_ask = (Abandon(state.asked),) if isinstance(state, Comparing) else ()
    return done, (*open_ask, Report(done))


def _reason_at_deadline(state: Seeking | Holding | Comparing | Waiting) -> Reason:
    match state:
        case Seeking(newest=newest):
            return newest
        case Holding():
            return Reason.TIMED_OUT
        case Comparing(trouble=trouble) | Waiting(trouble=trouble):
            return trouble or Reason.TIMED_OUT


def _reason_of(seen: FrameReason) -> Reason:
    """What a frame means for the payer, should it be the newest at the deadline."""
    match seen:
        case FrameReason.MULTIPLE_FACES:
            return Reason.MULTIPLE_FACES
        case FrameReason.NO_FACE | FrameReason.NO_PRESENCE | FrameReason.IDLE:
            return Reason.NO_FACE
        case FrameReason.SHOT | FrameReason.FOLLOWED:
            return Reason.TIMED_OUT
        case _:
            return Reason.FACE_UNUSABLE
