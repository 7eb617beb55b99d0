"""A turned head and a turned photograph are told apart by what perspective cannot do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.geometry import Pose, plane_offset, yaw_ratio
from agent.core.model import Landmarks, Point
from tests.core.heads import PICTURE, seen

DEGREES = st.floats(-55, 55)
TILTS = st.floats(-25, 25)
FRONTAL = seen()


def test_a_frontal_face_is_near_zero() -> None:
    pose = Pose.of(FRONTAL)
    assert pose.yaw == pytest.approx(0, abs=1e-9)
    assert pose.depth == pytest.approx(0, abs=1e-9)


@given(yaw=DEGREES, pitch=TILTS, roll=TILTS, distance_mm=st.floats(250, 1_500), x_px=st.floats(0, 1_280))
def test_no_way_of_holding_a_flat_picture_changes_its_depth(
    yaw: float, pitch: float, roll: float, distance_mm: float, x_px: float
) -> None:
    marks = seen(PICTURE, yaw=yaw, pitch=pitch, roll=roll, distance_mm=distance_mm, x_px=x_px)
    assert plane_offset(marks) == pytest.approx(0, abs=1e-6)


@given(st.floats(0, 40), st.floats(1, 10), st.floats(-15, 15), TILTS)
def test_the_further_a_head_turns_the_larger_both_numbers(
    yaw: float, more: float, pitch: float, roll: float
) -> None:
    """Of a level head: one that nods by 25 degrees loses some of its yaw again beyond 35."""
    less_turned, turned = (Pose.of(seen(yaw=y, pitch=pitch, roll=roll)) for y in (yaw, yaw + more))
    assert turned.yaw > less_turned.yaw
    assert turned.depth > less_turned.depth


@given(st.floats(20, 50))
def test_left_and_right_are_mirror_images(yaw: float) -> None:
    left, right = Pose.of(seen(yaw=yaw)), Pose.of(seen(yaw=-yaw))
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
def test_points_that_are_no_face_have_no_known_pose(marks: Landmarks) -> None:
    assert not Pose.of(marks).is_known


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=10, max_size=10))
def test_no_points_whatever_raise(numbers: list[float]) -> None:
    marks = Landmarks(*(Point(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)))
    assert isinstance(Pose.of(marks).is_known, bool)
    assert isinstance(yaw_ratio(marks), float)
