"""What another policy would have come to on a recorded verification, as far as the recording can tell. Pure.

The frames and the answers are the recorded ones. The n-th question gets the n-th recorded answer, as long
after it as it took then; where none was recorded, or the recording is over, nobody can tell, and it says so.
What the liveness challenge asked of the payer stays as it was. An answer that comes after the recording's
last frame counts as if nothing had happened in front of the camera until then.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agent.core.model import Frame, Shot
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.core.steps import (
    CallAnswered,
    CallFailed,
    Event,
    Finished,
    FrameAnalyzed,
    Limits,
    StartCall,
    State,
    Ticked,
)
from agent.core.trace import Trace, judge_again, replay
from agent.core.verification import advance, begin, wake_at

ENDED = "the recording ends before it is decided"
UNASKED = "it asks a question that nobody asked"

_NOBODYS = (FrameReason.MULTIPLE_FACES, FrameReason.OFF_CENTRE)  # such a frame belongs to no track


@dataclass(frozen=True, slots=True)
class PolicyReplay:
    """``finished`` is None when the recording cannot tell, ``unknown`` says why."""

    finished: Finished | None
    asks: int
    unknown: str = ""
    unjudged: int = 0  # frames whose face nobody measured, taken as they were


def under(trace: Trace, policy: PolicyLimits, limits: Limits) -> PolicyReplay:
    """Decide a recorded verification by another policy and other limits."""
    drawn = trace.limits
    limits = replace(limits, jitter=drawn.jitter, turns=drawn.turns, plans=drawn.plans)
    coming, unjudged = _seen_again(trace, policy)
    ended_ms = trace.events[-1].at_ms if trace.events else trace.not_before_ms
    world = _World(coming, _answers(trace), ended_ms)
    state: State = begin(trace.deadline_ms, trace.not_before_ms)
    asks = 0
    while not isinstance(state, Finished):
        event = world.next(wake_at(state))
        if event is None:
            return PolicyReplay(None, asks, ENDED, unjudged)
        state, effects = advance(state, event, limits)
        for effect in effects:
            if isinstance(effect, StartCall):
                asks += 1
                if not world.ask(effect, event.at_ms):
                    return PolicyReplay(None, asks, UNASKED, unjudged)
    return PolicyReplay(state, asks, unjudged=unjudged)


@dataclass(frozen=True, slots=True)
class ReplayAnswer:
    took_ms: int
    event: CallAnswered | CallFailed


@dataclass(slots=True)
class _World:
    """Hands out what happened in its order, and the answers when they are due."""

    coming: list[Event]
    answers: list[ReplayAnswer | None]  # by question, the first one first; None: nothing came, it timed out
    ended_ms: int
    due: list[Event] = field(default_factory=list)

    def ask(self, ask: StartCall, at_ms: int) -> bool:
        """False when nobody knows the answer. A new question makes the answer to an older one stale."""
        if ask.number > len(self.answers):
            return False
        recorded = self.answers[ask.number - 1]
        self.due = [] if recorded is None else [replace(recorded.event, at_ms=at_ms + recorded.took_ms)]
        return True

    def next(self, wake_ms: int) -> Event | None:
        """The next event, a tick if the state's own time comes first; None when nothing is left."""
        heads = [*self.due[:1], *self.coming[:1]]
        if not heads:
            return Ticked(wake_ms) if wake_ms <= self.ended_ms else None
        first = min(heads, key=lambda event: event.at_ms)
        if wake_ms < first.at_ms:
            return Ticked(wake_ms)
        (self.due if self.due[:1] == [first] else self.coming).pop(0)
        return first


def _answers(trace: Trace) -> list[ReplayAnswer | None]:
    """What came of each question that was put."""
    asked_ms = replay(trace).asked_ms
    found: list[ReplayAnswer | None] = [None] * len(asked_ms)
    for event in trace.events:
        if isinstance(event, CallAnswered | CallFailed) and 0 < event.ask <= len(found):
            number = event.ask - 1
            found[number] = found[number] or ReplayAnswer(event.at_ms - asked_ms[number], event)
    return found


def _seen_again(trace: Trace, policy: PolicyLimits) -> tuple[list[Event], int]:
    """What happened by itself, every look as the other policy sees it, and how many looks it cannot judge."""
    events, unjudged = list[Event](), 0
    for event in trace.events:
        if isinstance(event, FrameAnalyzed):
            reason = judge_again(event.analysis, policy)
            unjudged += reason is None
            events.append(event if reason is None else _as(event, reason))
        elif not isinstance(event, Ticked | CallAnswered | CallFailed):
            events.append(event)
    return events, unjudged


def _as(event: FrameAnalyzed, reason: FrameReason) -> FrameAnalyzed:
    """The look with another reason, and with a shot exactly when that is the reason."""
    seen = event.analysis
    if reason is seen.reason:
        return event
    shot = None
    if reason is FrameReason.SHOT and seen.face and seen.quality and seen.track is not None:
        frame = Frame(None, seen.frame_seq, seen.captured_ms, seen.frame_width_px, seen.frame_height_px)
        shot = Shot(frame, seen.face, seen.quality, seen.track, seen.others)
    track = None if reason in _NOBODYS else seen.track
    return FrameAnalyzed(event.at_ms, replace(seen, reason=reason, shot=shot, track=track))
