"""The region of a followed face: which faces are plausible, and which square of the frame is searched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.core.model import Box, Detection, Landmarks, Point
from agent.vision.follower import Follower, is_plausible

Pixels = NDArray[np.uint8]
SIDES = st.floats(1, 900)
POSITIONS = st.floats(-900, 1_800)
BOXES = st.builds(Box, POSITIONS, POSITIONS, SIDES, SIDES)
FRAMES = st.tuples(st.integers(1, 1_300), st.integers(1, 1_300))
# right eye, left eye, nose, right and left mouth corner, in BOX
POINTS = ((30.0, 40.0), (70.0, 40.0), (50.0, 60.0), (35.0, 80.0), (65.0, 80.0))
BOX = Box(0, 0, 100, 100)
ANYWHERE_IN_HEIGHT = (0, 1, 2)  # the height of a mouth corner also decides whether the face is upright


def face(points: tuple[tuple[float, float], ...] = POINTS, box: Box = BOX) -> Detection:
    return Detection(box, Landmarks(*(Point(x, y) for x, y in points)), 0.9)


def with_point(index: int, x: float, y: float) -> Detection:
    return face((*POINTS[:index], (x, y), *POINTS[index + 1 :]))


@pytest.mark.parametrize("index", range(5))
def test_each_landmark_must_lie_in_the_box(index: int) -> None:
    x, y = POINTS[index]
    assert all(is_plausible(with_point(index, edge, y)) for edge in (0.0, 100.0))
    assert not any(is_plausible(with_point(index, outside, y)) for outside in (-0.1, 100.1))
    assert not any(is_plausible(with_point(index, x, outside)) for outside in (-0.1, 100.1))
    if index in ANYWHERE_IN_HEIGHT:
        assert is_plausible(with_point(index, x, 0.0))


def test_eyes_of_a_tenth_of_the_width_are_far_enough_apart() -> None:
    assert is_plausible(face(((45.0, 40.0), (55.0, 40.0), *POINTS[2:])))
    assert not is_plausible(face(((45.1, 40.0), (55.0, 40.0), *POINTS[2:])))


def test_mouth_must_be_below_the_eyes() -> None:
    assert is_plausible(face((*POINTS[:3], (35.0, 40.0), (65.0, 40.1))))
    assert not is_plausible(face((*POINTS[:3], (35.0, 40.0), (65.0, 40.0))))


class Recording:
    """A detector that finds one face in the middle of its picture, and records the picture."""

    def __init__(self) -> None:
        self.pictures = list[Pixels]()

    def detect(self, bgr: Pixels, width_px: int | None = None) -> tuple[Detection, ...]:
        self.pictures.append(bgr)
        return (face(),)


@given(BOXES, st.lists(BOXES, max_size=2), FRAMES)
def test_region_lies_in_the_frame_and_contains_no_other_face(
    box: Box, others: list[Box], size: tuple[int, int]
) -> None:
    detector, frame = Recording(), np.broadcast_to(np.zeros((), np.uint8), (*size, 3))
    follower = Follower(detector)
    follower.start(face(box=box), tuple(face(box=other) for other in others), frame)
    found = follower.find(frame)
    if found is None:
        assert detector.pictures == []
        return
    (region,) = detector.pictures
    side = region.shape[0]
    left, top = found.box.x_px, found.box.y_px
    assert region.shape == (side, side, 3) and side % 96 == 0, "scaled down by a whole number"
    assert side >= max(box.width_px, box.height_px)
    assert 0 <= left <= size[1] - side and 0 <= top <= size[0] - side
    right, bottom = min(size[1], box.x_px + box.width_px), min(size[0], box.y_px + box.height_px)
    assert left - 1 <= max(0, box.x_px) or right <= 0, "the part of the face in the frame is in the region"
    assert top - 1 <= max(0, box.y_px) or bottom <= 0
    assert right <= left + side + 1 or box.x_px >= size[1]
    assert bottom <= top + side + 1 or box.y_px >= size[0]
    for other in others:
        is_right_or_left = other.x_px >= left + side or other.x_px + other.width_px <= left
        is_below_or_above = other.y_px >= top + side or other.y_px + other.height_px <= top
        assert is_right_or_left or is_below_or_above
    assert found.landmarks.nose == Point(50.0 + left, 60.0 + top)


def test_region_of_a_frame_of_another_size_is_not_searched() -> None:
    detector, frame = Recording(), np.zeros((300, 400, 3), np.uint8)
    follower = Follower(detector)
    follower.start(face(box=Box(100, 100, 80, 80)), (), frame)
    assert follower.find(np.zeros((400, 300, 3), np.uint8)) is None and detector.pictures == []
    assert follower.find(frame) is not None
    follower.stop()
    assert follower.find(frame) is None


def test_face_that_is_not_plausible_or_not_alone_does_not_decide() -> None:
    class Fixed(Recording):
        faces: tuple[Detection, ...] = ()

        def detect(self, bgr: Pixels, width_px: int | None = None) -> tuple[Detection, ...]:
            return self.faces

    detector, frame = Fixed(), np.zeros((300, 400, 3), np.uint8)
    follower = Follower(detector)
    follower.start(face(box=Box(100, 100, 80, 80)), (), frame)
    for faces in ((), (face(), face()), (replace(face(), confidence=float("nan")),)):
        detector.faces = faces
        assert follower.find(frame) is None
