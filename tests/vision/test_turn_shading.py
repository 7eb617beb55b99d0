"""The light on a head changes while the head turns; a photograph on a mesh carries its light along."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from agent.core.turn_path import TurnPath
from agent.vision.turn_shading import changes_light
from tests.vision.people import Pixels
from tests.vision.surfaces import printed, solid
from tests.vision.test_turn_relief import path

CHANGE = 0.12  # of the logarithm per eye distance at the end; filmed heads had about half of it
EYES_PX = 35.0  # distance of the eyes in an aligned face


def lit(turn: TurnPath, change: float) -> TurnPath:
    """The same faces; the side of the picture to the right becomes darker by ``change`` during the turn."""
    across = (np.arange(112) - 56) / EYES_PX
    faces = list[object]()
    for number, face in enumerate(turn.faces):
        assert isinstance(face, np.ndarray)
        gain = np.exp(-change * number / (len(turn.faces) - 1) * across)[None, :, None]
        faces.append(np.clip(face * gain, 0, 255).astype(np.uint8))
    return TurnPath(turn.is_left, tuple(faces))


@pytest.mark.parametrize(("name", "degrees"), [("biden_portrait", 34.0), ("obama_podium", -40.0)])
def test_only_light_that_stays_in_the_room_changes_on_a_turning_head(name: str, degrees: float) -> None:
    turn = path(partial(solid, printed(name)), degrees)
    away = CHANGE if turn.is_left else -CHANGE
    assert not changes_light(turn), "a photograph on a mesh"
    assert changes_light(lit(turn, away)), "the side that turns away becomes darker"
    assert not changes_light(lit(turn, -away)), "the other side becomes darker"


def test_light_of_a_lamp_that_changes_with_the_turn_is_no_change_on_the_face() -> None:
    """The exposure of the camera and the brightness of a screen change all points alike."""
    turn = path(partial(solid, printed("biden_portrait")), 34.0)
    darker = [np.asarray(face) // 2 for face in turn.faces]
    faces: tuple[object, ...] = (turn.faces[0], *darker[1:])
    assert not changes_light(TurnPath(True, faces))


def test_path_that_cannot_be_measured_changes_no_light() -> None:
    turn = lit(path(partial(solid, printed("biden_portrait")), 34.0), CHANGE)
    black: Pixels = np.zeros((112, 112, 3), np.uint8)
    for faces in ((), turn.faces[:1], turn.faces[:2], (None,) * 7, (black,) * 7, (turn.faces[0],) * 7):
        assert not changes_light(TurnPath(True, tuple(faces)))
    jump = (turn.faces[0], turn.faces[-1][::-1], turn.faces[-1][:, ::-1], black)  # type: ignore[index]
    assert not changes_light(TurnPath(True, jump))
