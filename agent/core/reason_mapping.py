"""What frames and moments mean for the payer: from the eye's words to the reasons of the till contract."""

from __future__ import annotations

from agent.core.reasons import FrameReason, Reason
from agent.core.steps import CallAnswered, Challenging, Comparing, Holding, Seeking, Waiting

LOST = frozenset(
    {FrameReason.NO_FACE, FrameReason.NO_PRESENCE, FrameReason.OFF_CENTRE, FrameReason.MULTIPLE_FACES}
)


def reason_at_deadline(state: Seeking | Challenging | Holding | Comparing | Waiting) -> Reason:
    """What to say when the time is up in this state."""
    match state:
        case Seeking(newest=Reason.TIMED_OUT) if state.live.tries:
            return (
                Reason.LIVENESS_NOT_COMPLETED
            )  # a usable face is there; it is the challenge that is not over
        case Seeking(newest=newest):
            return newest
        case Challenging():
            return Reason.LIVENESS_NOT_COMPLETED
        case Holding():
            return Reason.TIMED_OUT
        case Comparing(answer=CallAnswered()):
            return Reason.FACE_LOST  # the payer was not seen again after a gap
        case Comparing(trouble=trouble) | Waiting(trouble=trouble):
            return trouble or Reason.TIMED_OUT


def reason_of(seen: FrameReason) -> Reason:
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
