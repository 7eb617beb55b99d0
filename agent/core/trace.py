"""Everything that one verification was decided from, so that it can be decided again. Pure; no pixels.

The core sees the world as events only, so its decision is a function of where it began, its limits and the
events in their order: ``replay`` ends as the verification did, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.core.model import Analysis
from agent.core.policy import PolicyLimits, choose_face, gate
from agent.core.reasons import FrameReason
from agent.core.steps import Event, Finished, FrameAnalyzed, Limits, StartCall, State
from agent.core.verification import advance, begin

_NOT_LOOKED_AT = (FrameReason.IDLE, FrameReason.NO_PRESENCE)


@dataclass(frozen=True, slots=True)
class Trace:
    """One verification as the core saw it. Times on the boot clock of that run."""

    deadline_ms: int  # the core's own
    not_before_ms: int  # when the request arrived
    limits: Limits
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """``finished`` is None when the recording ends before the verification does."""

    finished: Finished | None
    asked_ms: tuple[int, ...]  # when each question was put


def bare(event: Event) -> Event:
    """The event without its pixels."""
    if not isinstance(event, FrameAnalyzed) or event.analysis.shot is None:
        return event
    shot = event.analysis.shot
    frame = replace(shot.frame, pixels=None)
    return replace(event, analysis=replace(event.analysis, shot=replace(shot, frame=frame)))


def replay(trace: Trace) -> Replayed:
    """Decide it again."""
    state: State = begin(trace.deadline_ms, trace.not_before_ms)
    asked_ms = list[int]()
    for event in trace.events:
        state, effects = advance(state, event, trace.limits)
        asked_ms += [event.at_ms for effect in effects if isinstance(effect, StartCall)]
    return Replayed(state if isinstance(state, Finished) else None, tuple(asked_ms))


def judge_again(seen: Analysis, policy: PolicyLimits) -> FrameReason | None:
    """What a policy makes of a recorded frame; None when it picks a face that was never measured.

    Under the policy of the recording this is the recorded reason.
    """
    faces = (*((seen.face,) if seen.face else ()), *seen.others)
    if seen.reason in _NOT_LOOKED_AT or not faces:
        return seen.reason
    choice = choose_face(faces, seen.frame_width_px, seen.frame_height_px, policy)
    if choice.reason is not None:
        return choice.reason
    if choice.face is None or choice.face != seen.face or seen.quality is None:
        return None
    reason = gate(choice.face, seen.quality, seen.frame_width_px, seen.frame_height_px, policy)
    is_followed = reason is FrameReason.SHOT and seen.reason is FrameReason.FOLLOWED
    return FrameReason.FOLLOWED if is_followed else reason
