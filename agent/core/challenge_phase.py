"""The phases of an attempt at a liveness challenge, and the result of each step. Pure."""

from enum import StrEnum


class Phase(StrEnum):
    STEADY = "steady"  # the payer looks straight ahead until the prompt
    TURNING = "turning"  # the prompt is a turn
    RETURNING = "returning"  # the turn is done; the payer looks back to the camera


class ChallengeOutcome(StrEnum):
    """The result of one frame or one time limit for the attempt."""

    CONTINUE = "continue"  # the attempt is not decided yet
    PASSED = "passed"  # the frame may be the shot
    RETRY = "retry"  # the attempt ends without a decision: the next attempt
    FAILED = "failed"  # a wrong turn or a flat picture: no further attempt
    TOO_SLOW = "too_slow"  # the camera delivers too few frames for any attempt
