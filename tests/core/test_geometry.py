"""Head pose: a turned head and a turned photo differ in depth, which perspective cannot change."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.geometry import Pose, plane_offset, yaw_ratio
from agent.core.model import Landmarks, Point
from tests.core.heads import PICTURE, view

DEGREES = st.floats(-55, 55)
TILTS = st.floats(-25, 25)
FRONTAL = view()


def test_pose_of_a_frontal_face_is_near_zero() -> None:
    pose = Pose.of(FRONTAL)
    assert pose.yaw == pytest.approx(0, abs=1e-9)
    assert pose.depth == pytest.approx(0, abs=1e-9)


@given(yaw=DEGREES, pitch=TILTS, roll=TILTS, distance_mm=st.floats(250, 1_500), x_px=st.floats(0, 1_280))
def test_depth_of_a_flat_picture_is_zero_in_every_view(
    yaw: float, pitch: float, roll: float, distance_mm: float, x_px: float
) -> None:
    marks = view(PICTURE, yaw=yaw, pitch=pitch, roll=roll, distance_mm=distance_mm, x_px=x_px)
    assert plane_offset(marks) == pytest.approx(0, abs=1e-6)


@given(st.floats(0, 40), st.floats(1, 10), st.floats(-15, 15), TILTS)
def test_yaw_and_depth_grow_with_the_turn_of_a_head(
    yaw: float, more: float, pitch: float, roll: float
) -> None:
    """For a level head: with a pitch of 25 degrees, the yaw decreases again beyond 35 degrees."""
    less_turned, turned = (Pose.of(view(yaw=y, pitch=pitch, roll=roll)) for y in (yaw, yaw + more))
    assert turned.yaw > less_turned.yaw
    assert turned.depth > less_turned.depth


@given(st.floats(20, 50))
def test_left_and_right_are_mirror_images(yaw: float) -> None:
    left, right = Pose.of(view(yaw=yaw)), Pose.of(view(yaw=-yaw))
    assert left.yaw == pytest.approx(-right.yaw)
    assert left.depth == pytest.approx(-right.depth)
    assert left.yaw > 0 < left.depth


@pytest.mark.parametrize(
    "marks",
    [
        Landmarks(*[Point(5, 5)] * 5),
        Landmarks(*[Point(float(x), 0.0) for x in range(5)]),
        replace(FRONTAL, left_eye=FRONTAL.right_eye, left_mouth=FRONTAL.right_mouth),
        replace(FRONTAL, nose=Point(math.nan, 0.0)),
        replace(FRONTAL, left_mouth=Point(math.inf, 0.0)),
    ],
    ids=["one point", "one line", "no width", "not a number", "infinite"],
)
def test_pose_of_points_that_are_no_face_is_unknown(marks: Landmarks) -> None:
    assert not Pose.of(marks).is_known


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=10, max_size=10))
def test_pose_of_any_points_raises_no_exception(numbers: list[float]) -> None:
    marks = Landmarks(*(Point(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)))
    assert isinstance(Pose.of(marks).is_known, bool)
    assert isinstance(yaw_ratio(marks), float)
