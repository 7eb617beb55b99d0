"""Mapping of frame reasons and states to the reasons of the till contract."""

from agent.core.reasons import FrameReason, Reason
from agent.core.verification_types import (
    CallAnswered,
    Challenging,
    Comparing,
    Holding,
    OpenState,
    Seeking,
    Waiting,
)

LOST = frozenset(
    {FrameReason.NO_FACE, FrameReason.NO_PRESENCE, FrameReason.OFF_CENTRE, FrameReason.MULTIPLE_FACES}
)


def reason_at_deadline(state: OpenState) -> Reason:
    """The reason of the result when the deadline passes in this state."""
    match state:
        case Seeking(newest=Reason.TIMED_OUT) if state.context.liveness.attempts:
            return Reason.LIVENESS_NOT_COMPLETED  # a usable face is present; the challenge is not completed
        case Seeking(newest=newest):
            return newest
        case Challenging():
            return Reason.LIVENESS_NOT_COMPLETED
        case Holding():
            return Reason.TIMED_OUT
        case Comparing(answer=CallAnswered()):
            return Reason.FACE_LOST  # no frame confirmed the payer after a gap
        case Comparing(last_error=last_error) | Waiting(last_error=last_error):
            return last_error or Reason.TIMED_OUT


def reason_of(frame_reason: FrameReason) -> Reason:
    """The reason of the result when this frame is the newest frame at the deadline."""
    match frame_reason:
        case FrameReason.MULTIPLE_FACES:
            return Reason.MULTIPLE_FACES
        case FrameReason.NO_FACE | FrameReason.NO_PRESENCE | FrameReason.IDLE:
            return Reason.NO_FACE
        case FrameReason.SHOT | FrameReason.FOLLOWED:
            return Reason.TIMED_OUT
        case (
            FrameReason.OFF_CENTRE
            | FrameReason.TOO_SMALL
            | FrameReason.TOO_LARGE
            | FrameReason.TURNED
            | FrameReason.TOO_DARK
            | FrameReason.TOO_BRIGHT
            | FrameReason.BACKLIT
            | FrameReason.SIDE_LIT
            | FrameReason.BLURRED
            | FrameReason.COVERED
        ):
            return Reason.FACE_UNUSABLE
