"""State machine of one verification: is the person in front of the camera the holder of the reference photo?

Pure: ``advance(state, event, limits)`` returns the next state and the effects. Time is data (``at_ms``, boot
clock), randomness is ``Limits.jitter``. The runner waits until ``wake_at(state)`` and then posts ``Ticked``.
The rules, safety first:

1. Finished is final. Later events change nothing, so exactly one ``Report`` is returned.
2. At or after the deadline the only outcome is UNDECIDED, for every event.
3. MATCH needs a timely, well-formed and sufficient answer to the newest API call. An answer to an older call
   is ignored.
4. A track that breaks between shot and answer has three outcomes (``Continuity``). SAME continues. OTHER ends
   with ``face_swapped``. UNKNOWN needs a new shot while API calls are left, then ends with ``face_lost``.
   A match that arrives in or after a gap waits until a frame of the shot's track confirms the match.
   A camera that fails between shot and answer ends the verification, because no frame can confirm the payer.
5. A shot is held for a short time, so that a better shot can replace it. An excellent shot is sent when a
   second frame shows the same face: a person who walks past is never sent. A lost face, another track or a
   second plausible payer during the hold starts over.
6. API calls are numbered and the number never restarts. At most ``max_asks`` calls are made, and no call with
   less than ``min_ask_ms`` left, because its answer could not arrive.
7. With a liveness challenge no API call is made before the challenge is passed on the track whose shot is
   sent. A broken track resets the challenge. Each attempt is another challenge. Another face during an
   attempt is ``face_swapped``; an unknown face starts the next attempt. The shot is taken shortly after the
   last turn and carries the faces of all counted frames. The analyzer compares them before the call.

::

            FrameAnalyzed(shot)       hold ends               CallAnswered(newest)
    Seeking ─────────────▶ Holding ─────────────▶ Comparing ─────────────▶ Finished(MATCH | NO_MATCH)
       ▲                     │ face lost            │     ▲
       ├─────────────────────┘                      ▼     │ pause ends: call again
       └─ CallFailed(new shot), track unknown ──  Waiting ┘ ◀─ CallFailed(same, backoff) or call timed out
    with a challenge: Seeking ─ shot ▶ Challenging ─ passed ▶ Holding;  not completed or lost ▶ Seeking
    any open state ── Cancelled, deadline, unusable reference ▶ Finished(UNDECIDED, reason)
"""

from dataclasses import replace

from agent.core import challenge
from agent.core.challenge_phase import ChallengeOutcome
from agent.core.model import Shot
from agent.core.reason_mapping import LOST, reason_at_deadline, reason_of
from agent.core.reasons import Continuity, Decision, Reason
from agent.core.transitions import (
    call_failed,
    call_timed_out,
    confirm,
    finish,
    hold,
    judge_answer,
    seek,
    start_call,
    start_over,
    update_gap,
)
from agent.core.verification_types import (
    CallAnswered,
    CallFailed,
    CameraFailed,
    Cancelled,
    Challenging,
    Comparing,
    Context,
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

_ENDED_BY = {
    Cancelled: Reason.CANCELLED,
    Interrupted: Reason.INTERRUPTED,
    InternalFailure: Reason.INTERNAL_ERROR,
}


def begin(deadline_ms: int, not_before_ms: int = 0) -> Seeking:
    """A new verification.

    Args:
        deadline_ms: the deadline of the till minus the publish margin.
        not_before_ms: arrival of the request. An earlier frame is no shot: it can show another person.
    """
    return Seeking(Context(deadline_ms), newest=Reason.CAMERA_UNAVAILABLE, not_before_ms=not_before_ms)


def wake_at(state: State) -> int:
    """The time at which ``Ticked`` is due. A tick at this time always changes the state.

    Raises ``ValueError`` for a finished state.
    """
    match state:
        case Finished():
            raise ValueError("a finished verification has no next tick")
        case Seeking() | Comparing(answer=CallAnswered()):
            return state.context.deadline_ms
        case Challenging():
            return min(state.progress.until_ms, state.context.deadline_ms)
        case Holding() | Comparing() | Waiting():
            return min(state.until_ms, state.context.deadline_ms)


def advance(state: State, event: Event, limits: Limits) -> Step:
    """The next state and its effects. Total: defined for every pair of state and event, never raises."""
    match state, event:
        case Finished(), _:
            return state, ()
        case _, Cancelled() | Interrupted() | InternalFailure():
            return finish(state, Decision.UNDECIDED, _ENDED_BY[type(event)])
        case _ if event.at_ms >= state.context.deadline_ms:
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
            return _frame_while_seeking(state, event, limits)
        case Challenging(), FrameAnalyzed():
            return _frame_while_challenging(state, event, limits)
        case Challenging(), Ticked():
            step = challenge.tick(state.progress, event.at_ms)
            return _after_challenge_step(state, step, None, event.at_ms, limits)
        case Holding(), FrameAnalyzed():
            return _frame_while_holding(state, event, limits)
        case Comparing() | Waiting(), FrameAnalyzed():
            return _frame_while_comparing(state, event, limits)
        case Comparing(answer=CallAnswered()), _:
            return state, ()  # the call is answered; only a frame or the deadline decides now
        case Holding() | Waiting(), Ticked() if event.at_ms >= state.until_ms:
            return start_call(state, state.best, event.at_ms, limits)
        case Comparing(), CallAnswered(number=number) if number == state.context.asks:
            return judge_answer(state, event, limits)
        case Comparing(), CallFailed(number=number) if number == state.context.asks:
            return call_failed(state, event, limits)
        case Comparing(), Ticked() if event.at_ms >= state.until_ms:
            return call_timed_out(state, event.at_ms, limits)
        case _:
            return state, ()  # an early tick, or an event of an older API call


def _frame_while_seeking(state: Seeking, event: FrameAnalyzed, limits: Limits) -> Step:
    analysis = event.analysis
    if analysis.shot is not None and analysis.captured_ms >= state.not_before_ms:
        if limits.turns:
            return _challenge(state, event, limits)
        return hold(state, analysis.shot, event.at_ms, limits)
    return seek(state, reason_of(analysis.reason), state.not_before_ms), ()


def _challenge(state: Seeking, event: FrameAnalyzed, limits: Limits) -> Step:
    """Start the next attempt with the next plan.

    A recording of an earlier attempt does not fit the new plan.
    """
    analysis, attempts = event.analysis, state.context.liveness.attempts
    if attempts >= len(limits.plans):
        return finish(state, Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)
    progress = challenge.start(limits.plans[attempts], analysis, event.at_ms)
    if progress is None or analysis.track is None:
        return seek(state, Reason.FACE_UNUSABLE, state.not_before_ms), ()
    context = replace(state.context, liveness=LivenessProgress(attempts=attempts + 1))
    return Challenging(context, analysis.track, progress), ()


def _frame_while_challenging(state: Challenging, event: FrameAnalyzed, limits: Limits) -> Step:
    analysis = event.analysis
    if analysis.track is not None and analysis.track != state.track:
        if analysis.continuity is Continuity.OTHER:
            return finish(state, Decision.UNDECIDED, Reason.FACE_SWAPPED)
        return seek(state, Reason.FACE_LOST, event.at_ms), ()
    if analysis.reason in LOST:
        return seek(state, reason_of(analysis.reason), event.at_ms), ()
    step = challenge.judge_frame(state.progress, analysis)
    return _after_challenge_step(state, step, analysis.shot, event.at_ms, limits)


def _after_challenge_step(
    state: Challenging, step: challenge.ChallengeStep, shot: Shot | None, at_ms: int, limits: Limits
) -> Step:
    outcome, progress = step
    match outcome:
        case ChallengeOutcome.CONTINUE:
            return replace(state, progress=progress), ()
        case ChallengeOutcome.RETRY:
            return seek(state, Reason.LIVENESS_NOT_COMPLETED, at_ms), ()
        case ChallengeOutcome.FAILED:
            return finish(state, Decision.UNDECIDED, Reason.LIVENESS_FAILED)
        case ChallengeOutcome.TOO_SLOW:
            return finish(state, Decision.UNDECIDED, Reason.ASSURANCE_UNMET)
        case ChallengeOutcome.PASSED:
            if shot is None:
                return state, ()
            liveness = replace(state.context.liveness, passed=True)
            context = replace(state.context, liveness=liveness)
            shot = replace(shot, evidence=progress.evidence, paths=progress.paths)
            return hold(replace(state, context=context, progress=progress), shot, at_ms, limits)


def _frame_while_holding(state: Holding, event: FrameAnalyzed, limits: Limits) -> Step:
    analysis = event.analysis
    if analysis.reason in LOST:
        return seek(state, reason_of(analysis.reason), event.at_ms), ()
    if analysis.track is not None and analysis.track != state.best.track:
        if limits.turns:
            if analysis.continuity is Continuity.OTHER:
                return finish(state, Decision.UNDECIDED, Reason.FACE_SWAPPED)
            return seek(state, Reason.FACE_LOST, event.at_ms), ()
        if analysis.shot is None:
            return seek(state, reason_of(analysis.reason), event.at_ms), ()
        return hold(state, analysis.shot, event.at_ms, limits)
    best, gap = state.best, update_gap(state.gap, analysis, state.best.track, limits)
    if analysis.shot is not None and analysis.shot.quality.score > best.quality.score:
        best = replace(analysis.shot, evidence=best.evidence, paths=best.paths)
    if analysis.track is not None and best.quality.score >= limits.excellent_score:
        return start_call(replace(state, gap=gap), best, event.at_ms, limits)
    return replace(state, best=best, gap=gap), ()


def _frame_while_comparing(state: Comparing | Waiting, event: FrameAnalyzed, limits: Limits) -> Step:
    analysis = event.analysis
    if analysis.track is not None and analysis.track != state.best.track:
        if analysis.continuity is Continuity.OTHER:
            return finish(state, Decision.UNDECIDED, Reason.FACE_SWAPPED)
        return start_over(state, event.at_ms, limits)
    if isinstance(state, Comparing) and state.answer is not None:
        return confirm(state, state.answer, analysis, limits)
    return replace(state, gap=update_gap(state.gap, analysis, state.best.track, limits)), ()
