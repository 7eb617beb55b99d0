"""The simulated prints and heads move as real ones: a check of the simulation that the attack table uses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from agent.core.geometry import Pose as FacePose
from tests.core.heads import PICTURE, view
from tests.vision.people import Pixels, detector
from tests.vision.surfaces import (
    FOCAL_PX,
    HIGH,
    WIDE,
    Pose,
    Print,
    bent,
    flat,
    on_tube,
    printed,
    project,
    solid,
)

DOTS_MM = np.array([(-31.0, -35.0), (31.0, -35.0), (0.0, 5.0), (-25.0, 35.0), (25.0, 35.0)])
COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)])
RADIUS_MM = 75.0


def dotted() -> Print:
    """A black print with one dot of its own colour at each of five places."""
    pixels = np.zeros((400, 400, 3), np.uint8)
    for (x, y), colour in zip(DOTS_MM, COLOURS, strict=True):
        cv2.circle(pixels, (round(200 + x / 0.5), round(200 + y / 0.5)), 6, colour.tolist(), cv2.FILLED)
    return Print(pixels, 0.5, (200.0, 200.0))


def found_dots(frame: Pixels) -> np.ndarray:
    """(5, 2): the middle of each colour."""
    near = [np.abs(frame.astype(int) - colour).sum(2) < 120 for colour in COLOURS]
    return np.array([np.argwhere(mask)[:, ::-1].mean(0) for mask in near])


@pytest.mark.parametrize("yaw", [-45.0, -20.0, 0.0, 20.0, 45.0])
def test_flat_print_moves_as_known_points_that_rotate(yaw: float) -> None:
    pose = Pose(yaw, pitch=6, roll=5, distance_mm=480, x_mm=12)
    points = np.c_[DOTS_MM, np.zeros(5)]
    assert found_dots(flat(dotted(), pose)) == pytest.approx(project(points, pose), abs=1.5)


@pytest.mark.parametrize("yaw", [-45.0, -20.0, 0.0, 20.0, 45.0])
def test_bent_print_moves_as_known_points_on_a_tube_that_turns_about_its_axis(yaw: float) -> None:
    axis = np.array((0.0, 0.0, RADIUS_MM))
    turned = on_tube(DOTS_MM, RADIUS_MM) + axis  # the axis is the origin of the turn
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    turned = np.stack(
        [c * turned[:, 0] + s * turned[:, 2], turned[:, 1], c * turned[:, 2] - s * turned[:, 0]], 1
    )
    expected = project(turned - axis, Pose(distance_mm=480))
    assert found_dots(bent(dotted(), Pose(yaw, distance_mm=480), RADIUS_MM)) == pytest.approx(
        expected, abs=1.5
    )


@pytest.mark.parametrize("yaw", [-30.0, 30.0])
def test_projection_agrees_with_the_model_of_the_core_tests(yaw: float) -> None:
    """``tests.core.heads.view`` was written independently: scale 1000 px, eyes at y = -35 mm."""
    points = np.array(PICTURE) + np.array((0.0, -35.0, 0.0))
    marks = view(PICTURE, yaw=yaw, distance_mm=480)
    theirs = np.array([(p.x_px - 640, p.y_px - 360) for p in (marks.right_eye, marks.left_eye, marks.nose)])
    ours = project(points, Pose(yaw, distance_mm=480))[:3] - (WIDE / 2, HIGH / 2)
    assert ours / FOCAL_PX == pytest.approx(theirs / 1_000.0, abs=1e-9)


def test_flat_print_foreshortens_towards_the_turn() -> None:
    """A turn to the payer's left, the right of the picture, moves the right half away from the camera."""
    dots = found_dots(flat(dotted(), Pose(40, distance_mm=480)))
    left_half, right_half = dots[2, 0] - dots[0, 0], dots[1, 0] - dots[2, 0]
    assert right_half < left_half < 31 * FOCAL_PX / 480


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("surface", [solid, lambda picture, pose: bent(picture, pose, RADIUS_MM)])
def test_nose_of_a_head_and_of_a_bent_print_moves_towards_the_turn(surface: object, side: int) -> None:
    """The earlier simulation moved the nose of a bent print against the turn."""
    picture = printed("obama_portrait")
    rest, turned = (_pose(surface(picture, Pose(side * yaw))) for yaw in (0, 40))  # type: ignore[operator]
    assert side * (turned.yaw - rest.yaw) > 0.08
    assert side * (turned.depth - rest.depth) > 0.08


def test_known_points_on_a_tube_gain_depth_towards_the_turn() -> None:
    """Without a detector: the nose between the eyes, for a tube that turns to the right of the picture."""
    dots = found_dots(bent(dotted(), Pose(30, distance_mm=480), RADIUS_MM))
    assert dots[2, 0] > (dots[0, 0] + dots[1, 0]) / 2


def _pose(frame: Pixels) -> FacePose:
    (face,) = detector().detect(frame)
    return FacePose.of(face.landmarks)
