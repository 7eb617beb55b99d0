"""The pose at rest: it becomes straighter, and stays near the pose of the first frame."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.geometry import Pose
from agent.core.rest_pose import MAX_REST, REST_YAW, RestPose


def at(yaw: float) -> Pose:
    return Pose(yaw, yaw)


@pytest.mark.parametrize("yaw", [MAX_REST + 0.01, -MAX_REST - 0.01, nan, inf])
def test_a_turned_or_unknown_pose_is_not_at_rest(yaw: float) -> None:
    assert RestPose.of(at(yaw)) is None


@pytest.mark.parametrize(
    ("yaws", "expected"),
    [
        pytest.param([0.1, 0.02], 0.02, id="a straighter frame"),
        pytest.param([0.1, 0.02, 0.05], 0.02, id="a less straight frame"),
        pytest.param([0.1, -0.01, -0.02], -0.01, id="beyond straight"),
        pytest.param([0.2, 0.05, 0.1], 0.1, id="too far from the first frame"),
    ],
)
def test_a_straighter_frame_near_the_first_one_replaces_the_pose(yaws: list[float], expected: float) -> None:
    rest = RestPose.of(at(yaws[0]))
    assert rest is not None
    for yaw in yaws[1:]:
        rest = rest.straightened(at(yaw))
    assert rest == RestPose(at(expected), yaws[0])


@pytest.mark.parametrize(
    ("yaw", "moved"), [(0.0, False), (0.11, False), (0.13, True), (-0.01, False), (-0.03, True)]
)
def test_a_head_has_moved_when_it_has_left_the_pose_at_rest_or_the_first_one(yaw: float, moved: bool) -> None:
    assert RestPose(at(0.0), first_yaw=0.1).has_moved(at(yaw)) is moved


@given(st.floats(-MAX_REST, MAX_REST), st.lists(st.floats(-1, 1)))
def test_the_pose_at_rest_stays_near_the_first_one_and_becomes_straighter(
    first: float, yaws: list[float]
) -> None:
    rest = RestPose.of(at(first))
    assert rest is not None
    for yaw in yaws:
        before, rest = rest, rest.straightened(at(yaw))
        assert abs(rest.pose.yaw) <= abs(before.pose.yaw)
        assert abs(rest.pose.yaw - first) <= REST_YAW and rest.first_yaw == first
