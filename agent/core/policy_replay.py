"""Replay of a recorded verification with another policy, as far as the recording allows. Pure.

Frames and answers are those of the recording. API call n gets the recorded answer n, after the recorded
duration. A replay without a recorded answer, or beyond the end of the recording, has no result and returns
the reason. The prompts of the liveness challenge stay as recorded. An answer after the last recorded frame is
treated as if no frame had arrived until then.
"""

from dataclasses import dataclass, field, replace

from agent.core import verification_types as types
from agent.core.model import Frame, Shot
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.core.trace import Trace, reason_with_policy, replay
from agent.core.verification import advance, begin, wake_at
from agent.core.verification_types import Event, Finished, Limits, StartCall, State

ENDED = "the recording ends before it is decided"
CALL_NOT_RECORDED = "it makes an API call that was not recorded"

_WITHOUT_TRACK = (FrameReason.MULTIPLE_FACES, FrameReason.OFF_CENTRE)


@dataclass(frozen=True, slots=True)
class PolicyReplay:
    """``finished`` is None when the recording does not decide; ``unknown`` is then the reason."""

    finished: Finished | None
    asks: int
    unknown: str = ""
    unjudged: int = 0  # frames with an unmeasured face, which keep their recorded reason


def replay_with_policy(trace: Trace, policy: PolicyLimits, limits: Limits) -> PolicyReplay:
    """Decide a recorded verification with another policy and other limits."""
    drawn = trace.limits
    limits = replace(limits, jitter=drawn.jitter, turns=drawn.turns, plans=drawn.plans)
    events, unjudged = _judged_events(trace, policy)
    ended_ms = trace.events[-1].at_ms if trace.events else trace.not_before_ms
    source = _EventSource(events, _answers(trace), ended_ms)
    state: State = begin(trace.deadline_ms, trace.not_before_ms)
    asks = 0
    while not isinstance(state, Finished):
        event = source.next(wake_at(state))
        if event is None:
            return PolicyReplay(None, asks, ENDED, unjudged)
        state, effects = advance(state, event, limits)
        for effect in effects:
            if isinstance(effect, StartCall):
                asks += 1
                if not source.start_call(effect, event.at_ms):
                    return PolicyReplay(None, asks, CALL_NOT_RECORDED, unjudged)
    return PolicyReplay(state, asks, unjudged=unjudged)


@dataclass(frozen=True, slots=True)
class ReplayAnswer:
    took_ms: int
    event: types.CallAnswered | types.CallFailed


@dataclass(slots=True)
class _EventSource:
    """Returns the recorded events in their order, and each answer at its time."""

    events: list[Event]
    answers: list[ReplayAnswer | None]  # by API call, the first call first; None: the call timed out
    ended_ms: int
    due: list[Event] = field(default_factory=list)

    def start_call(self, call: StartCall, at_ms: int) -> bool:
        """False without a recorded answer. A new call makes the answer to an older call stale."""
        if call.number > len(self.answers):
            return False
        recorded = self.answers[call.number - 1]
        self.due = [] if recorded is None else [replace(recorded.event, at_ms=at_ms + recorded.took_ms)]
        return True

    def next(self, wake_ms: int) -> Event | None:
        """The next event, or a tick if ``wake_ms`` is earlier; None at the end of the recording."""
        next_events = [*self.due[:1], *self.events[:1]]
        if not next_events:
            return types.Ticked(wake_ms) if wake_ms <= self.ended_ms else None
        first = min(next_events, key=lambda event: event.at_ms)
        if wake_ms < first.at_ms:
            return types.Ticked(wake_ms)
        (self.due if self.due[:1] == [first] else self.events).pop(0)
        return first


def _answers(trace: Trace) -> list[ReplayAnswer | None]:
    """The recorded answer or failure of each API call; None for a call that timed out."""
    call_starts_ms = replay(trace).call_starts_ms
    answers: list[ReplayAnswer | None] = [None] * len(call_starts_ms)
    for event in trace.events:
        if isinstance(event, types.CallAnswered | types.CallFailed) and 0 < event.number <= len(answers):
            index = event.number - 1
            answers[index] = answers[index] or ReplayAnswer(event.at_ms - call_starts_ms[index], event)
    return answers


def _judged_events(trace: Trace, policy: PolicyLimits) -> tuple[list[Event], int]:
    """The events that are independent of the policy, with frames judged again, and the unjudged frames."""
    events, unjudged = list[Event](), 0
    for event in trace.events:
        if isinstance(event, types.FrameAnalyzed):
            reason = reason_with_policy(event.analysis, policy)
            unjudged += reason is None
            events.append(event if reason is None else _with_reason(event, reason))
        elif not isinstance(event, types.Ticked | types.CallAnswered | types.CallFailed):
            events.append(event)
    return events, unjudged


def _with_reason(event: types.FrameAnalyzed, reason: FrameReason) -> types.FrameAnalyzed:
    """The frame with another reason, and with a shot exactly when the reason is SHOT."""
    old = event.analysis
    if reason is old.reason:
        return event
    shot = None
    if reason is FrameReason.SHOT and old.face and old.quality and old.track is not None:
        frame = Frame(None, old.frame_seq, old.captured_ms, old.frame_width_px, old.frame_height_px)
        shot = Shot(frame, old.face, old.quality, old.track, old.others)
    track = None if reason in _WITHOUT_TRACK else old.track
    return types.FrameAnalyzed(event.at_ms, replace(old, reason=reason, shot=shot, track=track))
