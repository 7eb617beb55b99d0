"""The nose of a head leaves its column and row of the picture in a turn; on bent paper it stays in one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

import numpy as np
import pytest

from agent.core.turn_path import TurnPath
from agent.vision import turn_relief
from agent.vision.embedding import align
from agent.vision.turn_relief import has_relief
from tests.vision.attacks import lying
from tests.vision.people import Pixels, detector
from tests.vision.surfaces import Pose, bent, noisy, printed, solid

STEPS = 6


def path(
    draw: Callable[[Pose], Pixels], degrees: float, *, pitch: float = 0.0, roll: float = 0.0
) -> TurnPath:
    """The aligned faces of a turn by ``degrees``, positive to the payer's left."""
    dice, faces = Random(5), list[object]()
    for step in range(STEPS + 1):
        frame = noisy(draw(Pose(degrees * step / STEPS, pitch, roll, 450.0)), dice)
        faces.append(align(frame, max(detector().detect(frame), key=lambda face: face.box.area_px)))
    return TurnPath(degrees > 0, tuple(faces))


@pytest.mark.parametrize(("name", "degrees"), [("biden_portrait", 34.0), ("obama_podium", -40.0)])
def test_turning_head_has_relief_to_its_side_only(name: str, degrees: float) -> None:
    turn = path(partial(solid, printed(name)), degrees)
    assert has_relief(turn)
    assert not has_relief(TurnPath(not turn.is_left, turn.faces)), "a turn to the other side"


@pytest.mark.parametrize(("radius_mm", "tilt"), [(60.0, 0.0), (80.0, 0.0), (70.0, 10.0)])
@pytest.mark.parametrize(("name", "degrees"), [("obama_podium", 48.0), ("biden_portrait", -48.0)])
def test_print_around_a_tube_has_no_relief(name: str, degrees: float, radius_mm: float, tilt: float) -> None:
    turn = path(partial(bent, printed(name), radius_mm=radius_mm), degrees, pitch=tilt, roll=tilt)
    assert not has_relief(turn)


@pytest.mark.parametrize("radius_mm", [35.0, 50.0, 70.0])
@pytest.mark.parametrize(("name", "degrees"), [("obama_portrait", 50.0), ("collins_portrait", -48.0)])
def test_print_around_a_level_tube_has_no_relief(name: str, degrees: float, radius_mm: float) -> None:
    def draw(pose: Pose) -> Pixels:
        return bent(lying(name), Pose(pitch=pose.yaw, roll=90.0, distance_mm=pose.distance_mm), radius_mm)

    assert not has_relief(path(draw, degrees))


def test_path_that_cannot_be_measured_has_no_relief() -> None:
    turn = path(partial(solid, printed("biden_portrait")), 34.0)
    black = np.zeros((112, 112, 3), np.uint8)
    for faces in ((), turn.faces[:1], turn.faces[:2], (None,) * 7, (black,) * 7, (turn.faces[0],) * 7):
        assert not has_relief(TurnPath(True, tuple(faces)))


def test_path_with_a_jump_has_no_relief() -> None:
    """Points that cannot be followed are no evidence: a still of a turned head after a straight face."""
    turn = path(partial(solid, printed("biden_portrait")), 34.0)
    other = path(partial(solid, printed("obama_podium")), 40.0)
    assert not has_relief(TurnPath(True, (turn.faces[0], other.faces[-1], other.faces[-1], other.faces[-1])))


NAN = float("nan")


@pytest.mark.parametrize(
    ("shifts", "expected"),
    [((0.1, 0.1), True), ((0.1, NAN), False), ((NAN, 0.1), False), ((0.1, 0.01), False), ((NAN, NAN), False)],
)
def test_two_measured_frames_are_relief(
    shifts: tuple[float, ...], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame that cannot be measured gives NaN, which compares as neither smaller nor larger."""
    monkeypatch.setattr(turn_relief, "_shifts", lambda _: ((shift, None) for shift in shifts))
    monkeypatch.setattr(turn_relief, "_nose_shift", lambda _rule, shift, _followed: shift)
    assert has_relief(TurnPath(is_left=True, faces=())) is expected
