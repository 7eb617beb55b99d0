"""The verification state machine: one try to answer "is this the holder of the reference?".

Pure: ``advance(state, event, limits)`` returns the next state and what to do about it. Time enters as data
(``at_ms``, boot clock), randomness as ``Limits.jitter``; the runtime waits until ``wake_at(state)`` and sends
``Ticked``. The rules, safety first:

1. Finished is final: late news changes nothing, so exactly one ``Report`` ever leaves.
2. At or after the deadline the only outcome is UNDECIDED, whatever arrives.
3. MATCH only for a timely, well-formed, high-enough answer to the newest question; an answer to an older
   question is no answer.
4. A track that breaks between shot and answer has three outcomes (``Continuity``): SAME goes on, OTHER ends
   it with ``face_swapped``, UNKNOWN needs a new shot while questions are left, then ends with ``face_lost``.
   A match that arrives in or after a gap waits until a frame of the shot's track confirms it.
   A camera that fails between shot and answer ends the verification, because nothing can confirm the payer.
5. A shot is held for a while so that a better one can replace it; an excellent one is sent as soon as a
   second frame shows the same face, so nobody is sent who runs past. Losing the face, another track, or a
   second plausible payer during the hold starts over.
6. Every question is numbered and the number never restarts; at most ``max_asks`` are put, and none with less
   than ``min_ask_ms`` left, because its answer could not arrive.
7. With a liveness challenge no question is put before it is passed on the very track whose shot is sent; what
   breaks the track undoes it. Each try is another challenge; another face during one is ``face_swapped``, an
   unknown one is the next try.

::

              Looked(shot)            until passes              Answered(newest)
    Seeking ─────────────▶ Holding ─────────────▶ Comparing ─────────────▶ Finished(MATCH | NO_MATCH)
       ▲                     │ face lost            │     ▲
       ├─────────────────────┘                      ▼     │ until passes: ask again
       └── AskFailed(new shot), track unknown ──  Waiting ┘ ◀─ AskFailed(same, backoff) or ask timed out
    with a challenge: Seeking ─ Looked(shot) ▶ Challenging ─ passed ▶ Holding;  given up or lost ▶ Seeking
    any ── Cancelled, deadline, broken reference ▶ Finished(UNDECIDED, reason)
"""

from __future__ import annotations

from dataclasses import replace

from agent.core import challenge
from agent.core.challenge import ChallengeOutcome
from agent.core.model import Shot
from agent.core.reason_mapping import LOST, reason_at_deadline, reason_of
from agent.core.reasons import Continuity, Decision, Reason
from agent.core.steps import (
    CallAnswered,
    CallFailed,
    CameraFailed,
    Cancelled,
    Challenging,
    Comparing,
    Event,
    Finished,
    FrameAnalyzed,
    Holding,
    InputFailed,
    InternalFailure,
    Interrupted,
    Limits,
    LivenessProgress,
    Seeking,
    State,
    Step,
    Ticked,
    Waiting,
)
from agent.core.transitions import (
    ask,
    ask_failed,
    ask_timed_out,
    confirm,
    finish,
    hold,
    judge,
    seek,
    sighted,
    start_over,
)

_ENDED_BY = {
    Cancelled: Reason.CANCELLED,
    Interrupted: Reason.INTERRUPTED,
    InternalFailure: Reason.INTERNAL_ERROR,
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
        case Challenging():
            return min(state.progress.until_ms, state.deadline_ms)
        case Comparing(answer=CallAnswered()):
            return state.deadline_ms
        case Holding() | Comparing() | Waiting():
            return min(state.until_ms, state.deadline_ms)


def advance(state: State, event: Event, limits: Limits) -> Step:
    """The next state and its effects. Total: every (state, event) pair is answered, none raises."""
    match state, event:
        case Finished(), _:
            return state, ()
        case _, Cancelled() | Interrupted() | InternalFailure():
            return finish(state, Decision.UNDECIDED, _ENDED_BY[type(event)])
        case _ if event.at_ms >= state.deadline_ms:
            return finish(state, Decision.UNDECIDED, reason_at_deadline(state))
        case _, InputFailed(reason=reason):
            return finish(state, Decision.UNDECIDED, reason)
        case Seeking(), CameraFailed(reason=reason):
            return seek(state, reason, state.not_before_ms), ()
        case Challenging() | Holding(), CameraFailed(reason=reason):
            return seek(state, reason, event.at_ms), ()
        case _, CameraFailed(reason=reason):
            return finish(state, Decision.UNDECIDED, reason)
        case Seeking(), FrameAnalyzed():
            return _look_while_seeking(state, event, limits)
        case Challenging(), FrameAnalyzed():
            return _look_while_challenging(state, event, limits)
        case Challenging(), Ticked():
            return _go_on(state, challenge.tick(state.progress, event.at_ms), None, event.at_ms, limits)
        case Holding(), FrameAnalyzed():
            return _look_while_holding(state, event, limits)
        case Comparing() | Waiting(), FrameAnalyzed():
            return _look_while_comparing(state, event, limits)
        case Comparing(answer=CallAnswered()), _:
            return state, ()  # the question is answered; only a frame or the deadline decides now
        case Holding() | Waiting(), Ticked() if event.at_ms >= state.until_ms:
            return ask(state, state.best, event.at_ms, limits)
        case Comparing(), CallAnswered(ask=number) if number == state.asked:
            return judge(state, event, limits)
        case Comparing(), CallFailed(ask=number) if number == state.asked:
            return ask_failed(state, event, limits)
        case Comparing(), Ticked() if event.at_ms >= state.until_ms:
            return ask_timed_out(state, event.at_ms, limits)
        case _:
            return state, ()  # a tick before its time, or news about an older question


def _look_while_seeking(state: Seeking, event: FrameAnalyzed, limits: Limits) -> Step:
    seen = event.analysis
    if seen.shot is not None and seen.captured_ms >= state.not_before_ms:
        if limits.turns:
            return _challenge(state, event, limits)
        return hold(state, seen.shot, event.at_ms, limits)
    return seek(state, reason_of(seen.reason), state.not_before_ms), ()


def _challenge(state: Seeking, event: FrameAnalyzed, limits: Limits) -> Step:
    """The next try, with the next challenge drawn: what somebody saw of one helps with no other."""
    seen, tries = event.analysis, state.live.tries
    if tries >= len(limits.plans):
        return finish(state, Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)
    progress = challenge.start(limits.plans[tries], seen, event.at_ms)
    if progress is None or seen.track is None:
        return seek(state, Reason.FACE_UNUSABLE, state.not_before_ms), ()
    live = LivenessProgress(tries=tries + 1)
    return Challenging(state.deadline_ms, state.asked, seen.track, progress, state.resigned, live), ()


def _look_while_challenging(state: Challenging, event: FrameAnalyzed, limits: Limits) -> Step:
    seen = event.analysis
    if seen.track is not None and seen.track != state.track:
        if seen.continuity is Continuity.OTHER:
            return finish(state, Decision.UNDECIDED, Reason.FACE_SWAPPED)
        return seek(state, Reason.FACE_LOST, event.at_ms), ()
    if seen.reason in LOST or seen.track is None:
        return seek(state, reason_of(seen.reason), event.at_ms), ()
    judged = challenge.look(state.progress, seen, event.at_ms)
    return _go_on(state, judged, seen.shot, event.at_ms, limits)


def _go_on(
    state: Challenging, judged: challenge.Judged, shot: Shot | None, at_ms: int, limits: Limits
) -> Step:
    outcome, progress = judged
    match outcome:
        case ChallengeOutcome.ON:
            return replace(state, progress=progress), ()
        case ChallengeOutcome.AGAIN:
            return seek(state, Reason.LIVENESS_NOT_COMPLETED, at_ms), ()
        case ChallengeOutcome.FAILED:
            return finish(state, Decision.UNDECIDED, Reason.LIVENESS_FAILED)
        case ChallengeOutcome.PASSED:
            if shot is None:
                return state, ()
            return hold(replace(state, live=replace(state.live, passed=True)), shot, at_ms, limits)


def _look_while_holding(state: Holding, event: FrameAnalyzed, limits: Limits) -> Step:
    seen = event.analysis
    if seen.reason in LOST:
        return seek(state, reason_of(seen.reason), event.at_ms), ()
    if seen.track is not None and seen.track != state.best.track:
        if limits.turns:
            if seen.continuity is Continuity.OTHER:
                return finish(state, Decision.UNDECIDED, Reason.FACE_SWAPPED)
            return seek(state, Reason.FACE_LOST, event.at_ms), ()
        if seen.shot is None:
            return seek(state, reason_of(seen.reason), event.at_ms), ()
        return hold(state, seen.shot, event.at_ms, limits)
    best, sight = state.best, sighted(state.sight, seen, state.best.track, limits)
    if seen.shot is not None and seen.shot.quality.score > best.quality.score:
        best = seen.shot
    if seen.track is not None and best.quality.score >= limits.excellent_score:
        return ask(replace(state, sight=sight), best, event.at_ms, limits)
    return replace(state, best=best, sight=sight), ()


def _look_while_comparing(state: Comparing | Waiting, event: FrameAnalyzed, limits: Limits) -> Step:
    seen = event.analysis
    if seen.track is not None and seen.track != state.best.track:
        if seen.continuity is Continuity.OTHER:
            return finish(state, Decision.UNDECIDED, Reason.FACE_SWAPPED)
        return start_over(state, event.at_ms, limits)
    if isinstance(state, Comparing) and state.answer is not None:
        return confirm(state, state.answer, seen, limits)
    return replace(state, sight=sighted(state.sight, seen, state.best.track, limits)), ()
