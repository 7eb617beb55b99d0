"""Branches of the core that no other test of this folder takes: guards, the frame log and the hints."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from agent.core import challenge, head_move
from agent.core.attempt_limits import AttemptLimits, PaidCalls
from agent.core.challenge import ChallengeProgress
from agent.core.challenge_phase import ChallengeOutcome, Phase
from agent.core.challenge_plan import Plan, Turn, TurnSide
from agent.core.frame_log import FRAMES_MAX, FrameLog
from agent.core.geometry import Pose, pitch_ratio, roll
from agent.core.guidance import prompt_of
from agent.core.head_move import Move
from agent.core.hints import hint_for
from agent.core.model import Box, Landmarks, Point
from agent.core.motion import Motion
from agent.core.policy import PolicyLimits, continuity_of, face_reason
from agent.core.rate import SenderBuckets
from agent.core.reason_mapping import reason_at_deadline
from agent.core.reasons import Continuity, Decision, FrameReason, Guidance, Reason
from agent.core.rest_pose import RestPose
from agent.core.transitions import hold
from agent.core.verification import _after_challenge_step, advance
from agent.core.verification_types import (
    Challenging,
    Comparing,
    Context,
    Limits,
    LivenessProgress,
    Seeking,
    StartCall,
)
from tests.core.builders import DEADLINE_MS, FACE, even, frame_event, shot, shot_event

PLAN: Plan = (Turn(TurnSide.LEFT, 500),)
TURNS = Limits(turns=1, plans=(PLAN,))


def challenging(**progress: object) -> Challenging:
    motion = Motion(((0, 0.0),))
    rest = RestPose(Pose(0.0, 0.0), 0.0)
    state = ChallengeProgress(PLAN, rest, until_ms=1_000, motion=motion, evidence=(None,))
    return Challenging(Context(DEADLINE_MS), 1, replace(state, **progress))  # type: ignore[arg-type] # by name


def test_reserved_calls_count_towards_the_limit_until_released() -> None:
    paid_calls = PaidCalls(AttemptLimits(calls_per_minute=1), 0)
    assert paid_calls.reserve(0) and not paid_calls.reserve(0)
    paid_calls.release()
    assert paid_calls.reserve(0)


def test_senders_forgets_a_sender() -> None:
    senders = SenderBuckets(per_minute=60, burst=1)
    senders.take("a", 0.0)
    assert "a" in senders
    senders.forget("a")
    senders.forget("never known")
    assert "a" not in senders


def test_frame_log_counts_all_frames_and_stores_a_bounded_number() -> None:
    log = FrameLog()
    log.add_stage("seeking", 0)
    log.add_frame(shot_event(5, 61.26).analysis, 5)
    for at_ms in range(FRAMES_MAX):
        log.add_frame(frame_event(at_ms, FrameReason.NO_FACE, 0).analysis, at_ms)
    assert log.frames_by_reason == {FrameReason.SHOT: 1, FrameReason.NO_FACE: FRAMES_MAX}
    assert len(log.frames) == FRAMES_MAX
    assert (log.frames[0].score, log.frames[1].score) == (61.3, None)
    assert [(stage.name, stage.after_ms) for stage in log.stages] == [("seeking", 0)]


def test_roll_and_pitch_of_an_upright_and_of_a_degenerate_face() -> None:
    assert roll(FACE.landmarks) == 0.0
    assert pitch_ratio(FACE.landmarks) == pytest.approx(0.5)
    flat = Landmarks(*[Point(1.0, 1.0)] * 5)
    assert pitch_ratio(flat) == math.inf


def test_prompt_of_each_kind_of_state() -> None:
    context = Context(DEADLINE_MS)
    assert prompt_of(challenging(phase=Phase.TURNING)) is Guidance.TURN_LEFT
    assert prompt_of(Seeking(context, Reason.NO_FACE, 0)) is None
    state, effects = hold(Seeking(context, Reason.NO_FACE, 0), shot(0), 0, Limits(hold_ms=0))
    assert isinstance(state, Comparing) and isinstance(effects[0], StartCall)
    assert prompt_of(state) is Guidance.THANK_YOU


@pytest.mark.parametrize(
    ("left_px", "hint"), [(0.0, Guidance.MOVE_LEFT), (540.0, None), (1_080.0, Guidance.MOVE_RIGHT)]
)
def test_hint_leads_the_payer_into_the_zone(left_px: float, hint: Guidance | None) -> None:
    face = replace(FACE, box=Box(left_px, 200.0, 200.0, 260.0))
    assert hint_for(FrameReason.OFF_CENTRE, face, None, 1_280, PolicyLimits()) is hint
    assert hint_for(FrameReason.TOO_SMALL, face, None, 1_280, PolicyLimits()) is None


def test_landmark_outside_the_frame_is_off_centre() -> None:
    outside = replace(FACE.landmarks, nose=Point(-5.0, 350.0))
    face = replace(FACE, landmarks=outside)
    assert face_reason(face, even(90.0), 1_280, 720, PolicyLimits()) is not FrameReason.SHOT


def test_no_api_call_before_a_passed_challenge() -> None:
    """The second lock: also a caller that forgets the challenge makes no call."""
    state, effects = hold(
        Seeking(Context(DEADLINE_MS), Reason.NO_FACE, 0), shot(0), 0, replace(TURNS, hold_ms=0)
    )
    assert (state.decision, state.reason) == (Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)  # type: ignore[union-attr]
    assert not any(isinstance(effect, StartCall) for effect in effects)


def test_challenge_starts_only_with_a_plan_and_usable_landmarks() -> None:
    analysis = shot_event(0).analysis
    assert challenge.start((), analysis, 0) is None
    assert challenge.start(PLAN, replace(analysis, face=None), 0) is None
    started = challenge.start(PLAN, analysis, 0)
    assert started is not None
    again, _ = challenge.judge_frame(started, replace(analysis, face=None))
    assert again is ChallengeOutcome.RETRY
    early, same = challenge.tick(started, started.until_ms - 1)
    assert early is ChallengeOutcome.CONTINUE and same is started


def test_frame_without_a_track_starts_no_challenge() -> None:
    state = Seeking(Context(DEADLINE_MS), Reason.NO_FACE, 0)
    event = shot_event(10)
    untracked = replace(event, analysis=replace(event.analysis, track=None))
    after, _ = advance(state, untracked, TURNS)
    assert isinstance(after, Seeking)


def test_frame_with_attempts_used_up_ends_the_verification() -> None:
    context = Context(DEADLINE_MS, liveness=LivenessProgress(attempts=1))
    after, _ = advance(Seeking(context, Reason.NO_FACE, 0), shot_event(10), TURNS)
    assert (after.decision, after.reason) == (Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)  # type: ignore[union-attr]


def test_lost_face_during_a_challenge_starts_over() -> None:
    gone = frame_event(10, FrameReason.NO_FACE)
    gone = replace(gone, analysis=replace(gone.analysis, continuity=Continuity.SAME))
    after, _ = advance(challenging(), gone, TURNS)
    assert isinstance(after, Seeking)


def test_passed_challenge_without_a_shot_waits_for_one() -> None:
    state = challenging()
    after, effects = _after_challenge_step(state, (ChallengeOutcome.PASSED, state.progress), None, 10, TURNS)
    assert after is state and effects == ()


def test_excellent_shot_after_a_passed_challenge_is_compared_at_once() -> None:
    state, effects = hold(challenging(until_ms=5_000), shot(0, 100.0), 0, Limits())
    assert isinstance(state, Comparing) and isinstance(effects[0], StartCall)


def test_deadline_between_two_attempts_names_the_challenge() -> None:
    context = Context(DEADLINE_MS, liveness=LivenessProgress(attempts=1))
    assert reason_at_deadline(Seeking(context, Reason.TIMED_OUT, 0)) is Reason.LIVENESS_NOT_COMPLETED
    assert reason_at_deadline(Seeking(Context(DEADLINE_MS), Reason.TIMED_OUT, 0)) is Reason.TIMED_OUT


@pytest.mark.parametrize(("width", "counts"), [(1.0, True), (0.3, False)], ids=["head", "flat picture"])
def test_narrow_face_with_a_small_turn_is_a_turned_picture(width: float, counts: bool) -> None:
    """A picture turned so far that its width is a third would show a larger yaw if it were a head."""
    progress = challenging(phase=Phase.TURNING, until_ms=challenge.TURN_MS).progress
    turned = Pose(head_move.MIN_YAW, head_move.MIN_DEPTH, width)
    outcome, after = challenge._judge_turn(progress, turned, shot_event(1_000).analysis)
    assert outcome is ChallengeOutcome.CONTINUE and (after.move is Move.PROMPTED) is counts


def test_straight_frame_long_after_the_turn_starts_another_attempt() -> None:
    progress = challenging(phase=Phase.RETURNING, until_ms=9_000, turned_ms=0).progress
    for at_ms, outcome in ((challenge.SHOT_MS, ChallengeOutcome.PASSED), (5_000, ChallengeOutcome.RETRY)):
        judged, _ = challenge._judge_return(progress, Pose(0.0, 0.0), shot_event(at_ms).analysis)
        assert judged is outcome


@pytest.mark.parametrize(
    ("cosine", "continuity"),
    [
        (None, Continuity.UNKNOWN),
        (math.nan, Continuity.UNKNOWN),
        (0.5, Continuity.SAME),
        (0.45, Continuity.UNKNOWN),
        (0.363, Continuity.UNKNOWN),
        (0.36, Continuity.OTHER),
        (-1.0, Continuity.OTHER),
    ],
)
def test_continuity_of_a_cosine(cosine: float | None, continuity: Continuity) -> None:
    assert continuity_of(cosine) is continuity
