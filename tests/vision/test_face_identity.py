"""Face identity after a break of the track: the same person, another person, or unknown."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from agent.core.model import Detection, Point
from agent.core.policy import continuity_of, coordinates
from agent.core.reasons import Continuity
from agent.errors import ModelError
from agent.vision.detector import Detector
from agent.vision.embedding import SIDE_PX, Embedder, Vector, align
from agent.vision.face_identity import FaceIdentity, TrackAssignment
from agent.vision.models import SFACE, locate
from tests.vision.people import NAMES, Pixels, detector, embedder, standing

HOLDER, OTHER = "obama_portrait", "biden_portrait"


@cache
def aligned_face(name: str, x: float = 0.5, face: float = 0.32) -> tuple[Detection, Pixels]:
    """A face and its aligned picture."""
    picture = standing(name, x=x, face=face)
    (found,) = detector().detect(picture)
    return found, align(picture, found)


class CountedLoad:
    def __init__(self, error: ModelError | None = None) -> None:
        self.calls, self._error = 0, error

    def __call__(self) -> Embedder:
        self.calls += 1
        if self._error is not None:
            raise self._error
        return embedder()


class NoVector:
    def describe(self, aligned: Pixels) -> Vector | None:
        return None


def started(load: CountedLoad, name: str = HOLDER) -> tuple[FaceIdentity, TrackAssignment]:
    """A track of one person at 10 fps, newest frame at 500 ms."""
    identity = FaceIdentity(load)
    face, usable = aligned_face(name)
    for at_ms in range(0, 501, 100):
        identity.tracker.frame(at_ms)
        assigned = identity.assign(face, at_ms, usable)
    return identity, assigned


def test_unbroken_track_loads_no_embedding() -> None:
    load = CountedLoad()
    _, assigned = started(load)
    assert assigned == TrackAssignment(1, Continuity.SAME)
    assert load.calls == 0


@pytest.mark.parametrize("gap_ms", [180, 400, 2_000, 60_000])
def test_the_same_person_after_a_gap_keeps_the_track(gap_ms: int) -> None:
    load = CountedLoad()
    identity, _ = started(load)
    face, usable = aligned_face(HOLDER, 0.45, 0.3)
    assigned = identity.assign(face, 500 + gap_ms, usable)
    assert (assigned.track, assigned.continuity) == (1, Continuity.SAME)
    assert assigned.similarity is not None and assigned.similarity > 0.8
    assert load.calls == 1


@pytest.mark.parametrize("gap_ms", [100, 180, 400, 2_000])
@pytest.mark.parametrize("other", [OTHER, "collins_portrait"])
def test_another_person_in_place_is_a_new_track_with_a_gap_and_without(other: str, gap_ms: int) -> None:
    """Without a gap, the changed appearance causes the embedding."""
    identity, _ = started(CountedLoad())
    (box, _), (face, usable) = aligned_face(HOLDER), aligned_face(other)
    face = replace(face, box=box.box)  # exactly in place: geometry alone keeps the track
    assigned = identity.assign(face, 500 + gap_ms, usable)
    assert (assigned.track, assigned.continuity) == (2, Continuity.OTHER)


def test_the_same_person_after_a_jump_keeps_the_track() -> None:
    identity, _ = started(CountedLoad())
    face, usable = aligned_face(HOLDER, 0.75)
    assert identity.assign(face, 600, usable).track == 1


def test_unusable_face_after_a_gap_stays_open_until_a_usable_face() -> None:
    for name, track, verdict in ((HOLDER, 1, Continuity.SAME), (OTHER, 2, Continuity.OTHER)):
        identity, _ = started(CountedLoad())
        face, usable = aligned_face(name)
        for at_ms in (1_000, 1_100):
            assert identity.assign(face, at_ms, None) == TrackAssignment(None, Continuity.UNKNOWN)
        assert not identity.continues(face, 1_150, None)
        assigned = identity.assign(face, 1_200, usable)
        assert (assigned.track, assigned.continuity) == (track, verdict)


@pytest.mark.parametrize("code", ["model_missing", "model_checksum"])
def test_without_the_model_a_gap_is_unknown_and_the_load_is_tried_once(code: str) -> None:
    load = CountedLoad(ModelError("no such file", code=code))
    identity, _ = started(load)
    face, usable = aligned_face(HOLDER)
    assert identity.assign(face, 1_000, usable) == TrackAssignment(2, Continuity.UNKNOWN)
    assert identity.assign(face, 1_100, usable) == TrackAssignment(2, Continuity.SAME)
    assert identity.assign(face, 2_000, usable) == TrackAssignment(3, Continuity.UNKNOWN)
    assert load.calls == 1


def test_a_face_without_a_vector_is_unknown() -> None:
    identity = FaceIdentity(NoVector)
    face, usable = aligned_face(HOLDER)
    identity.assign(face, 0, usable)
    assert identity.assign(face, 1_000, usable).continuity is Continuity.UNKNOWN


def test_begin_deletes_the_face() -> None:
    identity, _ = started(CountedLoad())
    identity.begin()
    face, usable = aligned_face(HOLDER)
    assert identity.assign(face, 600, usable) == TrackAssignment(2, Continuity.UNKNOWN)
    kept = [value for value in vars(identity).values() if isinstance(value, np.ndarray)]
    identity.begin()
    assert kept and not [value for value in vars(identity).values() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize(
    ("similarity", "verdict"),
    [
        (1.0, Continuity.SAME),
        (0.5, Continuity.SAME),
        (0.499, Continuity.UNKNOWN),
        (0.363, Continuity.UNKNOWN),
        (0.362, Continuity.OTHER),
        (-1.0, Continuity.OTHER),
        (None, Continuity.UNKNOWN),
        (math.nan, Continuity.UNKNOWN),
        (math.inf, Continuity.UNKNOWN),
    ],
)
def test_continuity_of_an_unclear_similarity_is_never_same(
    similarity: float | None, verdict: Continuity
) -> None:
    assert continuity_of(similarity) is verdict


# --- the embedding --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_align_equals_the_alignment_of_opencv(name: str) -> None:
    sface = cv2.FaceRecognizerSF.create(str(locate(SFACE)), "")
    picture = standing(name, turn=7)
    (face,) = Detector.load().detect(picture)
    box = face.box
    row = [box.x_px, box.y_px, box.width_px, box.height_px, *coordinates(face.landmarks)]
    theirs = sface.alignCrop(picture, np.array([[*row, face.confidence]], np.float32))
    assert np.abs(align(picture, face).astype(int) - theirs).max() <= 2


def test_align_of_landmarks_in_one_point_returns_a_picture() -> None:
    face, _ = aligned_face(HOLDER)
    points = dict.fromkeys(("right_eye", "left_eye", "nose", "right_mouth", "left_mouth"), Point(9.0, 9.0))
    flat = replace(face, landmarks=replace(face.landmarks, **points))
    aligned = align(standing(HOLDER), flat)
    assert aligned.shape == (SIDE_PX, SIDE_PX, 3)
    assert embedder().describe(aligned) is not None


def side_lit(name: str, light: float, *, vertical: bool) -> tuple[Detection, Pixels]:
    """A face with ``1 - light`` of the light on one side, all of it on the other, and its aligned picture."""
    picture = standing(name)
    (face,) = detector().detect(picture)
    box, (high, wide) = face.box, picture.shape[:2]
    rows = np.clip((np.arange(high) - box.y_px) / box.height_px, 0, 1)[:, None, None]
    columns = np.clip((np.arange(wide) - box.x_px) / box.width_px, 0, 1)[None, :, None]
    picture = (picture * (1 - light + light * (rows if vertical else columns))).astype(np.uint8)
    (face,) = detector().detect(picture)
    return face, align(picture, face)


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("light", [0.0, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("other", [OTHER, "collins_portrait"])
def test_another_person_in_the_same_side_light_is_no_gap_and_another(
    other: str, light: float, vertical: bool
) -> None:
    """The gradient of the light is on both faces: it must not make two people look the same."""
    load = CountedLoad()
    identity = FaceIdentity(load)
    face, usable = side_lit(HOLDER, light, vertical=vertical)
    for at_ms in range(0, 501, 100):
        identity.tracker.frame(at_ms)
        assigned = identity.assign(face, at_ms, usable)
    assert (assigned.track, load.calls) == (1, 0)
    _, usable = side_lit(other, light, vertical=vertical)
    assigned = identity.assign(face, 600, usable)
    assert (assigned.track, assigned.continuity) == (2, Continuity.OTHER)


# --- the faces of a challenge ---------------------------------------------------------------------------


def test_challenge_of_one_person_is_the_same() -> None:
    face, other_place = aligned_face(HOLDER)[1], aligned_face(HOLDER, x=0.4)[1]
    identity = FaceIdentity(CountedLoad())
    assert identity.compare_challenge((face, other_place, face), (other_place,), face) is Continuity.SAME


@pytest.mark.parametrize("strange", [(0,), (1, 2), (3, 4), (0, 1, 2, 3, 4)])
def test_challenge_with_another_person_at_rest_or_in_a_turn_is_other(strange: tuple[int, ...]) -> None:
    holder, other = aligned_face(HOLDER)[1], aligned_face(OTHER)[1]
    evidence = tuple(other if number in strange else holder for number in range(5))
    identity = FaceIdentity(CountedLoad())
    assert identity.compare_challenge(evidence, (holder, holder), holder) is Continuity.OTHER


@pytest.mark.parametrize("strange", [(0,), (1,), (0, 1)])
def test_challenge_with_another_person_at_the_start_of_a_turn_is_other(strange: tuple[int, ...]) -> None:
    holder, other = aligned_face(HOLDER)[1], aligned_face(OTHER)[1]
    starts = tuple(other if number in strange else holder for number in range(2))
    assert FaceIdentity(CountedLoad()).compare_challenge((holder,) * 5, starts, holder) is Continuity.OTHER


@pytest.mark.parametrize("starts", [(), (None, None), (1,), (1, None), (1, 1, 1)])
def test_challenge_without_the_start_of_each_turn_is_not_the_same(starts: tuple[int | None, ...]) -> None:
    face = aligned_face(HOLDER)[1]
    given = tuple(face if each else None for each in starts)
    assert FaceIdentity(CountedLoad()).compare_challenge((face,) * 5, given, face) is Continuity.UNKNOWN


@pytest.mark.parametrize("missing", [(), (None,), (None, None, None)])
def test_challenge_with_missing_faces_is_not_the_same(missing: tuple[None, ...]) -> None:
    face = aligned_face(HOLDER)[1]
    assert FaceIdentity(CountedLoad()).compare_challenge(missing, (face,), face) is Continuity.UNKNOWN
    assert FaceIdentity(CountedLoad()).compare_challenge((face, face), (face,), face) is Continuity.UNKNOWN
    assert FaceIdentity(NoVector).compare_challenge((face, face, face), (face,), face) is Continuity.UNKNOWN


def test_challenge_without_the_model_raises() -> None:
    face, load = aligned_face(HOLDER)[1], CountedLoad(ModelError("missing", code="model_missing"))
    with pytest.raises(ModelError):
        FaceIdentity(load).compare_challenge((face, face, face), (face,), face)
