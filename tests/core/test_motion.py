"""Continuity of the motion: a jump, a missing frame and a slow camera start the challenge again or end it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.challenge import TURN_MS
from agent.core.challenge_plan import NEXT_WAIT_MS, Turn, TurnSide
from agent.core.motion import MAX_STEP, SLOWEST_MS, Motion
from agent.core.reasons import Continuity, Decision, FrameReason, Reason
from agent.core.verification_types import Challenging, Comparing, Finished, Holding, Seeking
from tests.core.heads import view
from tests.core.test_challenge import LEFT, RIGHT, TURNED, Scenario, frame, limits


def after(*frames: tuple[int, float]) -> Motion:
    motion = Motion(frames[:1])
    for captured_ms, yaw in frames[1:]:
        motion = motion.moved(yaw, captured_ms)
    return motion


def still(period_ms: int) -> list[tuple[int, float]]:
    return [(0, 0.0), (period_ms, 0.0)]


@pytest.mark.parametrize(
    ("frames", "jumped"),
    [
        pytest.param([(0, 0.0), (100, 0.19)], False, id="one step of a fast head"),
        pytest.param([(0, 0.0), (100, 0.21)], True, id="another picture"),
        pytest.param([(0, 0.3), (100, 0.0)], True, id="another picture on the way back"),
        pytest.param([*still(33), (66, 0.11), (99, 0.22), (132, 0.22)], True, id="another picture fades in"),
        pytest.param([*still(50), (100, 0.14), (150, 0.28)], True, id="the same at 20 frames a second"),
        pytest.param([*still(50), (100, 0.09), (150, 0.21)], False, id="one frame of noise"),
        pytest.param([(0, 0.0), (66, 0.11), (132, 0.22)], False, id="a fast head at 15 frames a second"),
        pytest.param([(0, 0.0), (500, 0.21)], True, id="a slow camera does not allow larger steps"),
        pytest.param([(0, 0.0), (0, 0.0)], True, id="a frame that is not newer"),
        pytest.param([(0, 0.0), (100, float("nan"))], True, id="not a number"),
    ],
)
def test_motion_with_a_step_above_the_limit_has_jumped(frames: list[tuple[int, float]], jumped: bool) -> None:
    assert after(*frames).has_jumped is jumped


@given(st.lists(st.tuples(st.integers(1, 700), st.floats(-1, 1)), min_size=1, max_size=20))
def test_motion_without_a_jump_has_a_frame_in_every_range_of_yaw(steps: list[tuple[int, float]]) -> None:
    """Whatever the frame rate: between two poses there is a pose in each range of the size of a step."""
    motion, at_ms, yaws = Motion(((0, 0.0),)), 0, [0.0]
    for period_ms, yaw in steps:
        at_ms += period_ms
        motion = motion.moved(yaw, at_ms)
        if motion.has_jumped:
            return
        yaws.append(yaw)
    ordered = sorted(yaws)
    assert all(high - low <= MAX_STEP for low, high in pairwise(ordered))


@pytest.mark.parametrize(
    ("frames", "paused", "low_rate", "too_slow"),
    [
        pytest.param([0, 100, 200], False, False, False, id="10 frames/s"),
        pytest.param([0, 100, 500], True, False, False, id="a pause of a fast camera"),
        pytest.param([0, 500, 1_000], False, True, False, id="2 frames/s"),
        pytest.param([0, 500, 1_130], True, False, False, id="a pause of a slow camera"),
        pytest.param([0, 700], True, False, False, id="one pause"),
        pytest.param([0, SLOWEST_MS + 1, 2 * SLOWEST_MS + 2], True, False, True, id="below the lowest rate"),
        pytest.param([0, 700, 800, 1_500], True, False, False, id="two pauses, not in a row"),
    ],
)
def test_motion_measures_the_frame_period(
    frames: list[int], paused: bool, low_rate: bool, too_slow: bool
) -> None:
    motion = after(*((at_ms, 0.0) for at_ms in frames))
    assert (motion.has_paused, motion.is_low_rate, motion.is_too_slow) == (paused, low_rate, too_slow)


@pytest.mark.parametrize("moment", ["turn", "return"])
def test_challenge_with_pictures_that_replace_each_other_starts_again(moment: str) -> None:
    """Stills by key: straight, turned as prompted, straight. Each is a good picture; no frame is between."""
    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady().wait(200)
    if moment == "return":
        scenario.turn().look()
    else:
        scenario.look(TURNED)
    assert isinstance(scenario.state, Seeking)
    assert scenario.asks == 0


def test_challenge_with_jumps_in_every_attempt_ends_without_a_call_and_without_a_failure() -> None:
    scenario = Scenario(limits((LEFT,), (RIGHT,), (LEFT,))).look()
    while not isinstance(scenario.state, Finished):
        scenario.steady().wait(200).look(TURNED).look()
    assert scenario.ending() == (Decision.UNDECIDED, Reason.LIVENESS_NOT_COMPLETED)
    assert scenario.asks == 0


def test_challenge_with_a_pause_in_the_turn_starts_again() -> None:
    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady().wait(200).look(TURNED / 2)
    assert isinstance(scenario.look(TURNED / 2, after_ms=400).state, Seeking)


@pytest.mark.parametrize("period_ms", [100, 200, 333, 500])
def test_challenge_with_a_slow_turn_passes_at_each_frame_rate(period_ms: int) -> None:
    """Above 300 ms a turned face has no track number, because each frame follows a gap."""
    scenario = Scenario(limits((LEFT,))).look()
    while scenario.state.progress.prompt == "look_straight":  # type: ignore[union-attr] # challenging
        scenario.look(after_ms=period_ms)
    for yaw in (*[0.0] * (1 + 100 // period_ms), TURNED / 2, TURNED, TURNED, TURNED / 2, 0.0):
        scenario.wait(period_ms)
        analyzed = frame(scenario.at_ms, view(yaw=yaw))
        has_no_track = period_ms > 300 and analyzed.analysis.shot is None
        unplaced = replace(analyzed.analysis, track=None, continuity=Continuity.UNKNOWN)
        scenario.send(replace(analyzed, analysis=unplaced) if has_no_track else analyzed)
    assert isinstance(scenario.wait(200).state, Comparing)


def test_challenge_with_a_camera_below_two_frames_a_second_is_assurance_unmet() -> None:
    scenario = Scenario(limits((LEFT,))).look(times=4, after_ms=700)
    assert scenario.ending() == (Decision.UNDECIDED, Reason.ASSURANCE_UNMET)
    assert scenario.asks == 0


def test_shot_must_follow_the_last_turn_within_a_second() -> None:
    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady().wait(200).turn()
    scenario.look(TURNED / 2, times=9)
    assert not isinstance(scenario.state, Seeking)
    assert isinstance(scenario.look(TURNED / 2, times=2).state, Seeking), "not after 2.5 s"


def test_frames_without_a_shot_after_the_last_turn_start_again_within_a_second() -> None:
    scenario = Scenario(limits((LEFT,), (LEFT,))).look().steady().wait(200).turn().look(TURNED / 2)
    for _ in range(9):
        scenario.wait(100).send(frame(scenario.at_ms, view(), usable=False))
    assert scenario.asks == 0
    assert isinstance(scenario.wait(100).state, Seeking)


def test_shot_of_a_passed_challenge_carries_the_faces_of_all_counted_frames() -> None:
    scenario = Scenario(limits((LEFT, RIGHT))).look().steady().wait(200).turn().back().steady().wait(200)
    scenario.turn(-TURNED).back(-TURNED).wait(200)
    assert isinstance(scenario.state, Comparing)
    assert len(scenario.state.best.evidence) == 5
    assert all(isinstance(each, str) for each in scenario.state.best.evidence), (
        "the appearances of the frames"
    )


def test_shot_of_a_passed_challenge_carries_the_path_of_each_turn() -> None:
    scenario = Scenario(limits((LEFT, RIGHT))).look().steady().wait(200)
    assert isinstance(scenario.state, Challenging)
    prompted_ms = scenario.state.progress.until_ms - TURN_MS
    scenario.turn().back().steady().wait(200).turn(-TURNED).back(-TURNED).wait(200)
    assert isinstance(scenario.state, Comparing)
    left, right = scenario.state.best.paths
    assert (left.is_left, right.is_left) == (True, False)
    times = [[int(str(face).removeprefix("face at ")) for face in path.faces] for path in (left, right)]
    assert times[0][0] <= prompted_ms <= times[0][1], "begins with the last frame before the prompt"
    assert all(len(each) >= 6 and each == sorted(each) for each in times), times
    assert times[0][-1] < times[1][0]


@pytest.mark.parametrize("wait_ms", [*range(*NEXT_WAIT_MS, 50), NEXT_WAIT_MS[1]])
def test_path_of_a_turn_prompted_at_once_contains_no_frame_of_the_turn_before(wait_ms: int) -> None:
    """The prompt comes while the head turns back: the next path begins when the head looks straight."""
    scenario = Scenario(limits((LEFT, Turn(TurnSide.LEFT, wait_ms)))).look().steady().wait(200).turn().back()
    straight_ms = scenario.at_ms
    scenario.steady().look(times=2).turn().back().look()
    assert isinstance(scenario.state, Holding | Comparing), scenario.state
    times = [
        [int(str(face).removeprefix("face at ")) for face in path.faces] for path in scenario.state.best.paths
    ]
    assert times[0][-1] < straight_ms <= times[1][0]


def test_path_omits_frames_that_follow_at_once() -> None:
    scenario = Scenario(limits((LEFT,))).look().steady().wait(200).turn().look(TURNED, times=30, after_ms=20)
    assert isinstance(scenario.state, Challenging)
    times = [int(str(face).removeprefix("face at ")) for face in scenario.state.progress.path]
    assert all(other - one >= 60 for one, other in pairwise(times))


def test_a_better_shot_in_the_hold_keeps_the_evidence() -> None:
    scenario = Scenario(limits((LEFT,))).look().steady().wait(200).turn().back()
    better = frame(scenario.at_ms + 50, view())
    assert better.analysis.shot is not None and better.analysis.reason is FrameReason.SHOT
    scenario.wait(50).send(better).wait(200)
    assert isinstance(scenario.state, Comparing)
    assert len(scenario.state.best.evidence) == 3
