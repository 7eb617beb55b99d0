"""Is a living head in front of the camera? A challenge of random head turns, judged step by step. Pure.

The payer, looking straight ahead, is asked to turn to one side and back, then again; sides and moments are
drawn anew for each try. A turn counts when the nose moves far enough to the asked side **and** leaves the
face's own plane to that side (``geometry.Pose``): a flat picture can be turned, but not that.

It defeats the simulated flat pictures that were tried
(docs/explanation/seeing.md) and claims nothing beyond; a
video that happens to turn as asked passes. Everything that is not clearly passed is failed or done again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from agent.core.geometry import Pose
from agent.core.model import Analysis
from agent.core.reasons import Guidance

TURN_MS = 2_500  # to turn, and again to come back
REACTION_MS = 150  # nobody answers sooner: who does was moving anyway
MIN_YAW = 0.25  # about 25 degrees of a head; see tests/bench/flat_attacks.py
MIN_DEPTH = 0.2
SURE_YAW = 0.35  # turned so far without any depth, it is no head
FLAT_DEPTH = 0.08
BACK = 0.12  # within this of where it began, the head looks straight again
WAIT_MS = (650, 1_300)  # from looking straight to the next prompt; more than a hint stays on display
TRIES = 3  # challenges drawn per verification


class TurnSide(StrEnum):
    """The payer's own."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Turn:
    side: TurnSide
    wait_ms: int  # of looking straight ahead, before it is asked for


Plan = tuple[Turn, ...]


def draw(turns: int, rand: Callable[[int], int]) -> tuple[Plan, ...]:
    """The challenges of one verification, one per try.

    Args:
        turns: per challenge; 0 draws none.
        rand: ``rand(n)`` is a number from 0 up to, not including, n, that nobody can foresee.
    """
    if turns == 0:
        return ()
    sides, (least_ms, most_ms) = tuple(TurnSide), WAIT_MS
    return tuple(
        tuple(Turn(sides[rand(len(sides))], least_ms + rand(most_ms - least_ms)) for _ in range(turns))
        for _ in range(TRIES)
    )


class Phase(StrEnum):
    STEADY = "steady"  # looks straight ahead until the prompt
    TURNING = "turning"  # asked to turn
    RETURNING = "returning"  # has turned, looks back to the camera


class Move(StrEnum):
    AS_ASKED = "as_asked"
    WRONG_WAY = "wrong_way"
    FLAT = "flat"  # turned far, and nothing stands out of its plane


class ChallengeOutcome(StrEnum):
    """What a frame or a moment means for the try."""

    ON = "on"
    PASSED = "passed"  # and the frame may be the shot
    AGAIN = "again"  # nothing is proved, nothing is against it: the next try
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one try is. ``rest`` is the pose at its first frame."""

    plan: Plan
    rest: Pose
    until_ms: int  # the phase's own end: the prompt when steady, the time-out otherwise
    turn: int = 0
    phase: Phase = Phase.STEADY
    move: Move | None = None  # the newest frame's: two in a row must agree, one can be wrong by a small turn

    @property
    def prompt(self) -> Guidance:
        if self.phase is not Phase.TURNING:
            return Guidance.LOOK_STRAIGHT
        return Guidance.TURN_LEFT if self.plan[self.turn].side is TurnSide.LEFT else Guidance.TURN_RIGHT


Judged = tuple[ChallengeOutcome, Progress]


def start(plan: Plan, seen: Analysis, at_ms: int) -> Progress | None:
    """A try that begins with this frame; None when its landmarks cannot carry one."""
    rest = _pose(seen)
    return None if rest is None or not plan else Progress(plan, rest, at_ms + plan[0].wait_ms)


def look(progress: Progress, seen: Analysis, at_ms: int) -> Judged:
    """Judge one frame of the same, unbroken track."""
    pose = _pose(seen)
    if pose is None:
        return ChallengeOutcome.AGAIN, progress
    match progress.phase:
        case Phase.STEADY:
            early = abs(pose.yaw - progress.rest.yaw) >= MIN_YAW
            return (ChallengeOutcome.AGAIN if early else ChallengeOutcome.ON), progress
        case Phase.TURNING:
            return _look_at_turn(progress, pose, at_ms)
        case Phase.RETURNING:
            return _look_at_return(progress, pose, seen, at_ms)


def tick(progress: Progress, at_ms: int) -> Judged:
    """The phase's time is up: the prompt is due, or the payer took too long."""
    if at_ms < progress.until_ms:
        return ChallengeOutcome.ON, progress
    if progress.phase is Phase.STEADY:
        return ChallengeOutcome.ON, replace(progress, phase=Phase.TURNING, until_ms=at_ms + TURN_MS)
    return ChallengeOutcome.AGAIN, progress


def _look_at_turn(progress: Progress, pose: Pose, at_ms: int) -> Judged:
    sign = 1.0 if progress.plan[progress.turn].side is TurnSide.LEFT else -1.0
    yaw, depth = sign * (pose.yaw - progress.rest.yaw), sign * (pose.depth - progress.rest.depth)
    move = move_of(yaw, depth)
    if move is Move.AS_ASKED and at_ms - (progress.until_ms - TURN_MS) < REACTION_MS:
        return ChallengeOutcome.AGAIN, progress
    if move is None or move is not progress.move:
        return ChallengeOutcome.ON, replace(progress, move=move)
    if move is not Move.AS_ASKED:
        return ChallengeOutcome.FAILED, progress
    return ChallengeOutcome.ON, replace(progress, phase=Phase.RETURNING, until_ms=at_ms + TURN_MS, move=None)


def move_of(yaw: float, depth: float) -> Move | None:
    """What two offsets mean, positive to the asked side; None while it is too little to tell."""
    if yaw >= MIN_YAW and depth >= MIN_DEPTH:
        return Move.AS_ASKED
    if yaw <= -MIN_YAW and depth <= -MIN_DEPTH:
        return Move.WRONG_WAY
    return Move.FLAT if abs(yaw) >= SURE_YAW and abs(depth) <= FLAT_DEPTH else None


def _look_at_return(progress: Progress, pose: Pose, seen: Analysis, at_ms: int) -> Judged:
    if abs(pose.yaw - progress.rest.yaw) > BACK:
        return ChallengeOutcome.ON, progress
    if progress.turn + 1 == len(progress.plan):
        return (ChallengeOutcome.PASSED if seen.shot is not None else ChallengeOutcome.ON), progress
    turn = progress.turn + 1
    until_ms = at_ms + progress.plan[turn].wait_ms
    return ChallengeOutcome.ON, Progress(progress.plan, progress.rest, until_ms, turn)


def _pose(seen: Analysis) -> Pose | None:
    pose = Pose.of(seen.face.landmarks) if seen.face is not None else None
    return pose if pose is not None and pose.is_known else None
