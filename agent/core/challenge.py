"""Liveness challenge: random head turns, judged frame by frame. Pure.

The payer looks straight ahead. The prompt is a turn to one side and back, one or more times. Sides and times
are drawn again for each attempt. A turn counts when the nose moves far enough to the prompted side **and**
leaves the plane of the face to that side (``geometry.Pose``). A flat picture can be turned, but its nose
stays in the plane.

The challenge rejects the simulated flat pictures of the tests (docs/explanation/seeing.md). No further claim
is
made: a video whose turns agree with the prompts by chance passes. An unclear attempt fails or is repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from agent.core.geometry import Pose
from agent.core.model import Analysis
from agent.core.reasons import Guidance

TURN_MS = 2_500  # time limit of the turn, and of the return
REACTION_MS = 150  # a faster reaction is a movement that started before the prompt
MIN_YAW = 0.25  # about 25 degrees of a head; see tests/bench/flat_attacks.py
MIN_DEPTH = 0.2
SURE_YAW = 0.35  # a face with this yaw and no depth is flat
FLAT_DEPTH = 0.08
BACK = 0.12  # largest yaw difference to the first frame of a head that looks straight again
WAIT_MS = (650, 1_300)  # between looking straight and the next prompt; longer than a hint is displayed
ATTEMPTS = 3  # challenges drawn per verification


class TurnSide(StrEnum):
    """The side as the payer sees it."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Turn:
    side: TurnSide
    wait_ms: int  # of looking straight ahead, before the prompt


Plan = tuple[Turn, ...]


def draw(turns: int, rand: Callable[[int], int]) -> tuple[Plan, ...]:
    """Draw the challenges of one verification, one per attempt.

    Args:
        turns: per challenge; 0 draws no challenge.
        rand: ``rand(n)`` returns an unpredictable number from 0 to n - 1.
    """
    if turns == 0:
        return ()
    sides, (least_ms, most_ms) = tuple(TurnSide), WAIT_MS
    return tuple(
        tuple(Turn(sides[rand(len(sides))], least_ms + rand(most_ms - least_ms)) for _ in range(turns))
        for _ in range(ATTEMPTS)
    )


class Phase(StrEnum):
    STEADY = "steady"  # the payer looks straight ahead until the prompt
    TURNING = "turning"  # the prompt is a turn
    RETURNING = "returning"  # the turn is done; the payer looks back to the camera


class Move(StrEnum):
    AS_ASKED = "as_asked"
    WRONG_WAY = "wrong_way"
    FLAT = "flat"  # a large yaw, and the nose stays in the plane of the face


class ChallengeOutcome(StrEnum):
    """The result of one frame or one time limit for the attempt."""

    ON = "on"  # the attempt continues
    PASSED = "passed"  # the frame may be the shot
    AGAIN = "again"  # not decided: the next attempt
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of one attempt. ``rest`` is the pose in its first frame."""

    plan: Plan
    rest: Pose
    until_ms: int  # end of the phase: the prompt when steady, the time limit otherwise
    turn: int = 0
    phase: Phase = Phase.STEADY
    move: Move | None = None  # of the newest frame; a single frame can be wrong, so two must agree

    @property
    def prompt(self) -> Guidance:
        if self.phase is not Phase.TURNING:
            return Guidance.LOOK_STRAIGHT
        return Guidance.TURN_LEFT if self.plan[self.turn].side is TurnSide.LEFT else Guidance.TURN_RIGHT


Judged = tuple[ChallengeOutcome, Progress]


def start(plan: Plan, analysis: Analysis, at_ms: int) -> Progress | None:
    """An attempt that begins with this frame; None for an empty plan or unusable landmarks."""
    rest = _pose(analysis)
    return None if rest is None or not plan else Progress(plan, rest, at_ms + plan[0].wait_ms)


def judge_frame(progress: Progress, analysis: Analysis, at_ms: int) -> Judged:
    """Judge one frame of the same, unbroken track."""
    pose = _pose(analysis)
    if pose is None:
        return ChallengeOutcome.AGAIN, progress
    match progress.phase:
        case Phase.STEADY:
            early = abs(pose.yaw - progress.rest.yaw) >= MIN_YAW
            return (ChallengeOutcome.AGAIN if early else ChallengeOutcome.ON), progress
        case Phase.TURNING:
            return _judge_turn(progress, pose, at_ms)
        case Phase.RETURNING:
            return _judge_return(progress, pose, has_shot=analysis.shot is not None, at_ms=at_ms)


def tick(progress: Progress, at_ms: int) -> Judged:
    """Judge the end of a phase: the prompt is due, or the payer took too long."""
    if at_ms < progress.until_ms:
        return ChallengeOutcome.ON, progress
    if progress.phase is Phase.STEADY:
        return ChallengeOutcome.ON, replace(progress, phase=Phase.TURNING, until_ms=at_ms + TURN_MS)
    return ChallengeOutcome.AGAIN, progress


def _judge_turn(progress: Progress, pose: Pose, at_ms: int) -> Judged:
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
    """The movement for two offsets, positive to the prompted side; None for offsets that are too small."""
    if yaw >= MIN_YAW and depth >= MIN_DEPTH:
        return Move.AS_ASKED
    if yaw <= -MIN_YAW and depth <= -MIN_DEPTH:
        return Move.WRONG_WAY
    return Move.FLAT if abs(yaw) >= SURE_YAW and abs(depth) <= FLAT_DEPTH else None


def _judge_return(progress: Progress, pose: Pose, *, has_shot: bool, at_ms: int) -> Judged:
    if abs(pose.yaw - progress.rest.yaw) > BACK:
        return ChallengeOutcome.ON, progress
    if progress.turn + 1 == len(progress.plan):
        return (ChallengeOutcome.PASSED if has_shot else ChallengeOutcome.ON), progress
    turn = progress.turn + 1
    until_ms = at_ms + progress.plan[turn].wait_ms
    return ChallengeOutcome.ON, Progress(progress.plan, progress.rest, until_ms, turn)


def _pose(analysis: Analysis) -> Pose | None:
    pose = Pose.of(analysis.face.landmarks) if analysis.face is not None else None
    return pose if pose is not None and pose.is_known else None
