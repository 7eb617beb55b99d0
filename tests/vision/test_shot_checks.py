"""The checks of a shot after a challenge, with the real models: all faces of the challenge are one person."""

from __future__ import annotations

import numpy as np
import pytest

from agent.core.model import Frame, Quality, Shot
from agent.core.turn_path import TurnPath
from agent.errors import LivenessError
from agent.vision.embedding import align
from agent.vision.shot_checks import check_shot
from tests.vision.people import NAMES, Pixels, detector, new_identity
from tests.vision.surfaces import HIGH, WIDE, Pose, printed, solid

DEGREES, STEPS = 34.0, 6
HOLDER, OTHER = "biden_portrait", "obama_portrait"


def turned(name: str, degrees: float) -> Pixels:
    """The aligned face of a head that is turned to the payer's left."""
    frame = solid(printed(name), Pose(degrees))
    return align(frame, max(detector().detect(frame), key=lambda face: face.box.area_px))


def shot_of(name: str, turning: str) -> tuple[Shot, Pixels]:
    """A shot of ``name`` after two turns to the left.

    The frames that count show ``name``. The frames before them show how ``turning`` turns the head.
    """
    pixels = solid(printed(name), Pose())
    face = max(detector().detect(pixels), key=lambda face: face.box.area_px)
    counted = tuple(turned(name, DEGREES + step) for step in range(2))
    path = tuple(turned(turning, DEGREES * step / STEPS) for step in range(STEPS + 1))
    evidence = (align(pixels, face), *counted, *counted)
    paths = (TurnPath(True, (*path, *counted)),) * 2
    quality = Quality(*[80.0] * 15)
    return Shot(Frame(pixels, 1, 0, WIDE, HIGH), face, quality, 1, evidence=evidence, paths=paths), pixels


def test_shot_of_the_person_who_turned_is_accepted() -> None:
    shot, pixels = shot_of(HOLDER, HOLDER)
    check_shot(shot, pixels, new_identity(), ())


@pytest.mark.parametrize("other", [name for name in NAMES if name != HOLDER])
def test_shot_is_refused_when_another_head_made_the_motion(other: str) -> None:
    shot, pixels = shot_of(HOLDER, other)
    with pytest.raises(LivenessError) as refused:
        check_shot(shot, pixels, new_identity(), ())
    assert refused.value.code == "face_swapped"


def test_shot_is_refused_when_another_head_continues_the_motion() -> None:
    """The holder before the turn, then another head: the points of the face cannot be followed."""
    shot, pixels = shot_of(HOLDER, OTHER)
    (path, _), start = shot.paths, shot.evidence[0]
    mixed = TurnPath(path.is_left, (start, *path.faces[1:]))
    changed = Shot(shot.frame, shot.face, shot.quality, 1, evidence=shot.evidence, paths=(mixed, mixed))
    with pytest.raises(LivenessError) as refused:
        check_shot(changed, pixels, new_identity(), ())
    assert refused.value.code == "liveness_not_completed"


def test_path_without_faces_is_refused() -> None:
    shot, pixels = shot_of(HOLDER, HOLDER)
    empty = Shot(
        shot.frame, shot.face, shot.quality, 1, evidence=shot.evidence, paths=(TurnPath(True, ()),) * 2
    )
    with pytest.raises(LivenessError) as refused:
        check_shot(empty, np.asarray(pixels), new_identity(), ())
    assert refused.value.code == "liveness_not_completed"
