"""Trace of one verification: all inputs of its decision, without pixels. Pure.

The core receives facts as events only. So the decision is a function of the initial state, the limits and the
ordered events, and ``replay`` ends exactly as the recorded verification.
"""

from dataclasses import dataclass, replace

from agent.core.judgement import UNMEASURED, judge
from agent.core.model import Analysis, Detection, Quality
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.core.verification import advance, begin
from agent.core.verification_types import Event, Finished, FrameAnalyzed, Limits, StartCall, State

_NOT_ANALYZED = (FrameReason.IDLE, FrameReason.NO_PRESENCE)


@dataclass(frozen=True, slots=True)
class Trace:
    """The inputs of one verification. Times are on the boot clock of the recorded process."""

    deadline_ms: int  # of the core
    not_before_ms: int  # when the request arrived
    limits: Limits
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """``finished`` is None when the recording ends before the verification does."""

    finished: Finished | None
    call_starts_ms: tuple[int, ...]  # start time of each API call


def without_pixels(event: Event) -> Event:
    """The event without its pixels."""
    if not isinstance(event, FrameAnalyzed):
        return event
    analysis = replace(event.analysis, appearance=None)
    if analysis.shot is not None:
        frame = replace(analysis.shot.frame, pixels=None, small=None)
        analysis = replace(analysis, shot=replace(analysis.shot, frame=frame))
    return replace(event, analysis=analysis)


def replay(trace: Trace) -> Replayed:
    """Decide the recorded verification again."""
    state: State = begin(trace.deadline_ms, trace.not_before_ms)
    call_starts_ms = list[int]()
    for event in trace.events:
        state, effects = advance(state, event, trace.limits)
        call_starts_ms += [event.at_ms for effect in effects if isinstance(effect, StartCall)]
    return Replayed(state if isinstance(state, Finished) else None, tuple(call_starts_ms))


def reason_with_policy(recorded: Analysis, policy: PolicyLimits) -> FrameReason | None:
    """The reason of a recorded frame under a policy; None when the policy selects a face without measures.

    Under the policy of the recording, the result is the recorded reason.
    """
    faces = (*((recorded.face,) if recorded.face else ()), *recorded.others)
    if recorded.reason in _NOT_ANALYZED or not faces:
        return recorded.reason

    def recorded_quality(face: Detection) -> Quality:
        return recorded.quality if recorded.quality and face == recorded.face else UNMEASURED

    judgement = judge(faces, recorded.frame_width_px, recorded.frame_height_px, policy, recorded_quality)
    if judgement.quality is UNMEASURED:
        return None
    is_followed = judgement.reason is FrameReason.SHOT and recorded.reason is FrameReason.FOLLOWED
    return FrameReason.FOLLOWED if is_followed else judgement.reason
