"""Rules of the verification exactly at their limits, and for events that arrive late or out of order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.challenge import ChallengeProgress, judge_frame
from agent.core.challenge_phase import ChallengeOutcome, Phase
from agent.core.challenge_plan import Turn, TurnSide
from agent.core.geometry import Pose
from agent.core.model import Box, Detection
from agent.core.motion import Motion
from agent.core.policy import PolicyLimits, choose_face
from agent.core.reasons import FrameReason, Reason
from agent.core.rest_pose import RestPose
from agent.core.transitions import update_gap
from agent.core.turn_path import TurnPath, evidence_count
from agent.core.verification import advance
from agent.core.verification_types import (
    CallAnswered,
    CallFailed,
    CameraFailed,
    CancelCall,
    Cancelled,
    Comparing,
    Context,
    Finished,
    Holding,
    Limits,
    LivenessProgress,
    Report,
    Seeking,
    StartCall,
    Ticked,
    TrackGap,
    Waiting,
)
from agent.errors import Retry
from tests.core.builders import DEADLINE_MS, FACE, answer, frame_event, shot, shot_event, unknown

LIMITS = Limits()
HOLDING = Holding(Context(DEADLINE_MS), shot(1_000), until_ms=1_600, gap=TrackGap(1_000))


def test_excellent_shot_is_not_sent_after_a_frame_without_a_track() -> None:
    holding = replace(HOLDING, best=shot(1_000, score=LIMITS.excellent_score))
    state, effects = advance(holding, unknown(frame_event(1_100, FrameReason.TOO_SMALL, 1), None), LIMITS)
    assert isinstance(state, Holding) and not effects
    state, effects = advance(holding, frame_event(1_100, FrameReason.TOO_SMALL, 1), LIMITS)
    assert isinstance(state, Comparing) and effects


def test_better_shot_of_the_hold_keeps_the_evidence_of_the_challenge() -> None:
    limits = Limits(turns=1, plans=((Turn(TurnSide.LEFT, 500),),))
    evidence, paths = (None,) * evidence_count(1), (TurnPath(True, ()),)
    holding = Holding(
        Context(DEADLINE_MS, liveness=LivenessProgress(passed=True, attempts=1)),
        replace(shot(1_000), evidence=evidence, paths=paths),
        until_ms=1_600,
        gap=TrackGap(1_000),
    )
    better, _ = advance(holding, shot_event(1_100, score=70.0), limits)
    state, effects = advance(better, Ticked(1_600), limits)
    (call,) = effects
    assert isinstance(state, Comparing) and isinstance(call, StartCall)
    assert (call.shot.frame.captured_ms, call.shot.evidence, call.shot.paths) == (1_100, evidence, paths)


@pytest.mark.parametrize(
    "reason", [Reason.FACE_SWAPPED, Reason.LIVENESS_NOT_COMPLETED, Reason.MODEL_UNUSABLE]
)
def test_call_that_did_not_find_one_person_revokes_the_challenge(reason: Reason) -> None:
    limits = Limits(turns=1, plans=((Turn(TurnSide.LEFT, 500),),))
    best = replace(shot(1_000), evidence=(None,) * evidence_count(1), paths=(TurnPath(True, ()),))
    passed = LivenessProgress(passed=True, attempts=1)
    comparing = Comparing(Context(DEADLINE_MS, 1, liveness=passed), best, 4_000, TrackGap(1_000))
    other, _ = advance(comparing, CallFailed(2_000, 1, Reason.COMPARE_FAILED, Retry.SAME), limits)
    assert isinstance(advance(other, Ticked(3_000), limits)[0], Comparing)
    revoked, _ = advance(comparing, CallFailed(2_000, 1, reason, Retry.SAME), limits)
    state, _ = advance(revoked, Ticked(3_000), limits)
    assert isinstance(state, Finished) and state.reason is Reason.LIVENESS_NOT_COMPLETED
    assert not state.liveness.passed


def test_frame_of_before_a_fault_of_the_camera_is_no_shot() -> None:
    seeking, _ = advance(HOLDING, CameraFailed(1_300, Reason.CAMERA_UNAVAILABLE), LIMITS)
    late = replace(shot_event(1_299), at_ms=1_400)
    state, _ = advance(seeking, late, LIMITS)
    assert isinstance(state, Seeking)
    state, _ = advance(seeking, shot_event(1_300), LIMITS)
    assert isinstance(state, Holding)


@pytest.mark.parametrize("left_ms", [LIMITS.min_ask_ms, LIMITS.min_ask_ms - 1])
def test_call_needs_exactly_the_least_time(left_ms: int) -> None:
    state, effects = advance(replace(HOLDING, until_ms=0), Ticked(DEADLINE_MS - left_ms), LIMITS)
    if left_ms == LIMITS.min_ask_ms:
        assert isinstance(state, Comparing) and effects == (StartCall(1, HOLDING.best, left_ms),)
    else:
        assert isinstance(state, Finished)


def test_failure_of_an_older_call_changes_nothing() -> None:
    state = Comparing(Context(DEADLINE_MS, asks=2), shot(1_000), until_ms=4_000, gap=TrackGap(1_000))
    late = CallFailed(2_000, 1, Reason.COMPARE_CREDENTIALS, Retry.NEVER)
    assert advance(state, late, LIMITS) == (state, ())
    assert isinstance(advance(state, replace(late, number=2), LIMITS)[0], Finished)


def test_old_frame_does_not_make_the_newest_one_older() -> None:
    old = frame_event(900, FrameReason.NO_FACE).analysis
    assert update_gap(TrackGap(1_000), old, 1, LIMITS) == TrackGap(1_000)


def test_call_is_cancelled_once() -> None:
    state = Comparing(Context(DEADLINE_MS, LIMITS.max_asks), shot(1_000), 4_000, TrackGap(1_000))
    done, effects = advance(state, Ticked(4_000), LIMITS)
    assert isinstance(done, Finished) and effects == (CancelCall(LIMITS.max_asks), Report(done))


def test_answered_call_is_not_cancelled() -> None:
    match = CallAnswered(2_000, 1, answer(90.0))
    state = Comparing(Context(DEADLINE_MS, 1), shot(1_000), 4_000, TrackGap(1_000), answer=match)
    done, effects = advance(state, Cancelled(2_100), LIMITS)
    assert isinstance(done, Finished) and effects == (Report(done),)


@pytest.mark.parametrize(
    ("rival_px", "payer_px", "is_alone"), [(50, 99, False), (49.9, 99, True), (50, 100, True)]
)
def test_rival_of_exactly_the_least_size_competes(rival_px: float, payer_px: float, is_alone: bool) -> None:
    def face(x_px: float, size_px: float) -> Detection:
        return replace(FACE, box=Box(x_px, 200.0, size_px, size_px))

    limits = PolicyLimits(dominance=4.0, min_face_px=100.0)
    choice = choose_face([face(400.0, payer_px), face(800.0, rival_px)], 1_280, 720, limits)
    assert choice.reason is (None if is_alone else FrameReason.MULTIPLE_FACES)


@pytest.mark.parametrize("late_ms", [0, 1])
def test_pause_leaves_exactly_the_least_time_for_a_call(late_ms: int) -> None:
    state = Comparing(Context(DEADLINE_MS, asks=1), shot(1_000), until_ms=DEADLINE_MS, gap=TrackGap(1_000))
    at_ms = DEADLINE_MS - LIMITS.min_ask_ms - LIMITS.retry_pause_ms + late_ms
    after, _ = advance(state, CallFailed(at_ms, 1, Reason.COMPARE_FAILED, Retry.SAME), LIMITS)
    assert isinstance(after, Finished if late_ms else Waiting)


@pytest.mark.parametrize("age_ms", [LIMITS.fresh_ms, LIMITS.fresh_ms + 1])
def test_frame_of_exactly_the_largest_age_confirms_a_match(age_ms: int) -> None:
    match = CallAnswered(3_000, 1, answer(90.0))
    state = Comparing(Context(DEADLINE_MS, 1), shot(1_000), 4_000, TrackGap(1_000, True), answer=match)
    frame = replace(frame_event(3_000 - age_ms, FrameReason.FOLLOWED, 1), at_ms=3_010)
    after, _ = advance(state, frame, LIMITS)
    assert isinstance(after, Finished) is (age_ms == LIMITS.fresh_ms)


@pytest.mark.parametrize("phase", [Phase.STEADY, Phase.TURNING])
def test_missing_frame_ends_an_attempt_only_after_the_prompt(phase: Phase) -> None:
    """Before the prompt no part of a motion is unknown."""
    steady = frame_event(600, FrameReason.TURNED, 1).analysis
    yaw = Pose.of(FACE.landmarks).yaw
    motion = Motion(((0, yaw), (100, yaw)), shortest_ms=100, last_ms=100)
    progress = ChallengeProgress(
        plan=(Turn(TurnSide.LEFT, 500),),
        rest=RestPose(Pose.of(FACE.landmarks), yaw),
        until_ms=5_000,
        motion=motion,
        evidence=(None,),
        phase=phase,
    )
    outcome, _ = judge_frame(progress, steady)
    is_steady = phase is Phase.STEADY
    assert outcome is (ChallengeOutcome.CONTINUE if is_steady else ChallengeOutcome.RETRY)
