"""Liveness challenge: random head turns, judged frame by frame. Pure.

The payer looks straight ahead. The prompts are one or more turns to a side and back. Sides and times are
drawn again for each attempt. A turn counts when two consecutive frames show that the nose has moved far
enough to the prompted side **and** left the plane of the face to that side (``geometry.Pose``). A flat
picture can be turned, but its nose stays in the plane.

The motion must be continuous: a picture that replaces another picture jumps. All times are capture times.
The analyzer makes two more checks with the shot. It compares the faces of the counted frames with the shot
(``Shot.evidence``). It checks whether the nose is in front of the face in each turn (``Shot.paths``).

docs/explanation/attacks.md lists the simulated attacks. A video whose turns agree with the prompts passes.
"""

from dataclasses import dataclass, field, replace

from agent.core.challenge_phase import ChallengeOutcome, Phase
from agent.core.challenge_plan import Plan, TurnSide
from agent.core.geometry import Pose
from agent.core.head_move import MIN_YAW, Move, move_of
from agent.core.model import Analysis
from agent.core.motion import SLOWEST_MS, Motion
from agent.core.reasons import Guidance
from agent.core.rest_pose import REST_YAW, RestPose
from agent.core.turn_path import TurnPath

TURN_MS = 2_500  # time limit of the turn, and of holding the head turned
REACTION_MS = 300  # a motion that is visible earlier started before a person can react to the prompt
# A later turn may take this much longer than the first turn of the same payer, and one frame period more,
# because frames measure both times; at most ``LATER_TURN_EXTRA_MAX_MS``. A film does not react.
LATER_TURN_EXTRA_MS, LATER_TURN_EXTRA_MAX_MS = 350, 500
SHOT_MS = 1_000  # between the last turned frame and the straight frame, or three frame periods if longer
CLEAR_YAW = 0.3  # a head with this yaw in the next frame has turned far enough
STILL_TURNED = 0.2  # below ``MIN_YAW``, because a head at the limit varies
_PATH_STEP_MS = 60  # least time between two faces of a path: more faces would only cost time


@dataclass(frozen=True, slots=True)
class ChallengeProgress:
    """The state of one attempt."""

    plan: Plan
    rest: RestPose
    until_ms: int  # end of the phase: the prompt when steady, the time limit otherwise
    motion: Motion
    # appearance of the first frame, then of two frames of each counted turn
    evidence: tuple[object, ...] = field(repr=False, compare=False)
    turn: int = 0
    phase: Phase = Phase.STEADY
    move: Move | None = None  # of the newest frame; a single frame can be wrong, so two must agree
    # appearance of the newest frame, if its move is PROMPTED
    candidate: object = field(default=None, repr=False, compare=False)
    turned_ms: int = 0  # capture time of the newest frame of the last turn
    first_turn_ms: int = 0  # from the first prompt to the frame that completed the first turn
    is_straight: bool = True  # a frame between the last turn and this one shows a head that looks straight
    is_return_prompted: bool = False  # "look straight" came early in this turn; no frame since is straight
    # appearances of the current turn, from the last frame before the prompt
    path: tuple[object, ...] = field(default=(), repr=False, compare=False)
    path_ms: int = 0  # capture time of the newest appearance in ``path``
    paths: tuple[TurnPath, ...] = field(default=(), compare=False)  # of the complete turns

    @property
    def prompt(self) -> Guidance:
        """The hint for the payer now."""
        if self.phase is not Phase.TURNING or self.is_return_prompted:
            return Guidance.LOOK_STRAIGHT
        return Guidance.TURN_LEFT if self.plan[self.turn].side is TurnSide.LEFT else Guidance.TURN_RIGHT

    @property
    def is_turn_clear_soon(self) -> bool:
        """Whether the head, at the speed of the last two frames, has turned clearly by the next frame."""
        yaws = [self._to_side(yaw - self.rest.pose.yaw) for _, yaw in self.motion.frames[-2:]]
        earlier, yaw = yaws[0], yaws[-1]
        return self.may_prompt_early and yaw >= STILL_TURNED and max(yaw, 2 * yaw - earlier) >= CLEAR_YAW

    @property
    def may_prompt_early(self) -> bool:
        """Whether a prompt may be published one frame early: the next frame is captured before a reaction."""
        return self.motion.last_ms <= REACTION_MS

    def _to_side(self, offset: float) -> float:
        """The offset, positive to the prompted side."""
        return offset if self.plan[self.turn].side is TurnSide.LEFT else -offset

    def offset(self, pose: Pose) -> tuple[float, float]:
        """Yaw and depth relative to the pose at rest, positive to the prompted side."""
        rest = self.rest.pose
        return self._to_side(pose.yaw - rest.yaw), self._to_side(pose.depth - rest.depth)

    @property
    def later_turn_max_ms(self) -> int:
        """The longest time from a later prompt to its turn."""
        return self.first_turn_ms + min(
            LATER_TURN_EXTRA_MAX_MS, LATER_TURN_EXTRA_MS + self.motion.shortest_ms
        )


ChallengeStep = tuple[ChallengeOutcome, ChallengeProgress]


def start(plan: Plan, analysis: Analysis, at_ms: int) -> ChallengeProgress | None:
    """An attempt that begins with this frame; None for an empty plan, a turned face or unusable landmarks."""
    pose = _pose(analysis)
    rest = RestPose.of(pose) if pose is not None else None
    if rest is None or not plan:
        return None
    motion = Motion(((analysis.captured_ms, rest.first_yaw),))
    return ChallengeProgress(plan, rest, at_ms + SLOWEST_MS, motion, (analysis.appearance,))


def judge_frame(progress: ChallengeProgress, analysis: Analysis) -> ChallengeStep:
    """Judge one frame of the same person.

    A face without a track number counts only when the frame period of a slow camera explains the missing
    number. The comparison of ``Shot.evidence`` then shows whether it is the same person.
    """
    pose = _pose(analysis)
    if pose is None:
        return ChallengeOutcome.RETRY, progress
    motion = progress.motion.moved(pose.yaw, analysis.captured_ms)
    if motion.is_too_slow:
        return ChallengeOutcome.TOO_SLOW, progress
    is_steady = progress.phase is Phase.STEADY
    if motion.has_jumped or (motion.has_paused and not is_steady):
        return ChallengeOutcome.RETRY, progress
    if analysis.track is None and not motion.is_low_rate:
        return ChallengeOutcome.RETRY, progress
    if not progress.motion.shortest_ms:  # the frame period is known now: the wait begins
        progress = replace(progress, until_ms=analysis.captured_ms + progress.plan[0].wait_ms)
    progress = _with_path(replace(progress, motion=motion), analysis)
    progress = replace(progress, is_straight=progress.is_straight or progress.rest.turned(pose) <= REST_YAW)
    match progress.phase:
        case Phase.STEADY:
            if progress.turn == 0:
                progress = replace(progress, rest=progress.rest.straightened(pose))
            is_early = progress.rest.turned(pose) >= MIN_YAW
            return (ChallengeOutcome.RETRY if is_early else ChallengeOutcome.CONTINUE), progress
        case Phase.TURNING:
            return _judge_turn(progress, pose, analysis)
        case Phase.RETURNING:
            return _judge_return(progress, pose, analysis)


def _with_path(progress: ChallengeProgress, analysis: Analysis) -> ChallengeProgress:
    """The path is the newest face only before the prompt, and until the head looks straight after a turn.

    Later faces are added, at most one per 60 ms.
    """
    is_between = progress.phase is Phase.TURNING and not progress.is_straight
    if progress.phase is Phase.STEADY or is_between:
        return replace(progress, path=(analysis.appearance,), path_ms=analysis.captured_ms)
    if analysis.captured_ms - progress.path_ms < _PATH_STEP_MS:
        return progress
    return replace(progress, path=(*progress.path, analysis.appearance), path_ms=analysis.captured_ms)


def tick(progress: ChallengeProgress, at_ms: int) -> ChallengeStep:
    """Judge the end of a phase: the prompt is due, or the payer took too long."""
    if at_ms < progress.until_ms:
        return ChallengeOutcome.CONTINUE, progress
    if progress.phase is Phase.STEADY:
        if not progress.motion.shortest_ms:  # no prompt before the second frame
            return ChallengeOutcome.CONTINUE, replace(progress, until_ms=at_ms + SLOWEST_MS)
        return ChallengeOutcome.CONTINUE, replace(progress, phase=Phase.TURNING, until_ms=at_ms + TURN_MS)
    return ChallengeOutcome.RETRY, progress


def _judge_turn(progress: ChallengeProgress, pose: Pose, analysis: Analysis) -> ChallengeStep:
    move = move_of(*progress.offset(pose), pose.slant_from(progress.rest.pose))
    if move is not Move.PROMPTED and not progress.is_straight:
        move = None  # the head has not come back from the last turn yet
    is_new = progress.is_straight and progress.is_turn_clear_soon
    progress = replace(
        progress,
        is_return_prompted=progress.rest.turned(pose) > REST_YAW and (progress.is_return_prompted or is_new),
    )
    since_ms = analysis.captured_ms - (progress.until_ms - TURN_MS)
    if _is_untimely(progress, pose, move, since_ms):
        return ChallengeOutcome.RETRY, progress
    if move is None or move is not progress.move:
        candidate = analysis.appearance if move is Move.PROMPTED else None
        return ChallengeOutcome.CONTINUE, replace(progress, move=move, candidate=candidate)
    if move is not Move.PROMPTED:
        return ChallengeOutcome.FAILED, progress
    after = replace(
        progress,
        phase=Phase.RETURNING,
        until_ms=analysis.captured_ms + TURN_MS,
        move=None,
        candidate=None,
        evidence=(*progress.evidence, progress.candidate, analysis.appearance),
        turned_ms=analysis.captured_ms,
        first_turn_ms=progress.first_turn_ms or since_ms,
        is_straight=False,
        is_return_prompted=False,
    )
    return ChallengeOutcome.CONTINUE, after


def _is_untimely(progress: ChallengeProgress, pose: Pose, move: Move | None, since_ms: int) -> bool:
    """Whether a motion does not follow the prompt: too early, too late, or no look straight before it.

    At a later prompt the head may still turn back, so a motion is early only when it counts as the turn.
    """
    is_turn = move is Move.PROMPTED
    if since_ms < REACTION_MS and (is_turn or (progress.turn == 0 and progress.rest.has_moved(pose))):
        return True
    is_late = progress.turn > 0 and since_ms > progress.later_turn_max_ms
    return is_turn and (is_late or not progress.is_straight)


def _judge_return(progress: ChallengeProgress, pose: Pose, analysis: Analysis) -> ChallengeStep:
    captured_ms = analysis.captured_ms
    if progress.offset(pose)[0] >= STILL_TURNED:
        return ChallengeOutcome.CONTINUE, replace(progress, turned_ms=captured_ms)
    limit_ms = max(SHOT_MS, 3 * progress.motion.shortest_ms)
    until_ms = min(progress.until_ms, progress.turned_ms + limit_ms)
    progress = replace(progress, until_ms=until_ms)
    if captured_ms > until_ms:
        return ChallengeOutcome.RETRY, progress
    is_last = progress.turn + 1 == len(progress.plan)
    # On the way back, the head looks straight before a person can react to the next prompt. If the yaw rose
    # between the two frames before, the smaller yaw of this frame can be noise.
    earlier = [abs(yaw - progress.rest.pose.yaw) for _, yaw in progress.motion.frames[-3:-1]]
    is_early = not is_last and progress.may_prompt_early and earlier == sorted(earlier, reverse=True)
    limit = STILL_TURNED if is_early else REST_YAW
    if progress.rest.turned(pose) > limit:
        return ChallengeOutcome.CONTINUE, progress
    path = TurnPath(progress.plan[progress.turn].side is TurnSide.LEFT, progress.path)
    progress = replace(progress, paths=(*progress.paths[: progress.turn], path))
    if is_last:
        return (ChallengeOutcome.PASSED if analysis.shot is not None else ChallengeOutcome.CONTINUE), progress
    turn = progress.turn + 1
    until_ms = max(captured_ms, progress.turned_ms + progress.plan[turn].wait_ms)
    # The prompt can be due before the next frame: the path of the next turn begins with this face.
    progress = replace(progress, path=(analysis.appearance,), path_ms=captured_ms)
    return ChallengeOutcome.CONTINUE, replace(progress, turn=turn, until_ms=until_ms, phase=Phase.STEADY)


def _pose(analysis: Analysis) -> Pose | None:
    pose = Pose.of(analysis.face.landmarks) if analysis.face is not None else None
    return pose if pose is not None and pose.is_known else None
