"""Enrolled photos at any orientation: corrected where the orientation is certain, else refused by name."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from agent.compare.contract import ApiFailure
from agent.service.causes import Cause
from agent.service.image_decoder import Pixels, decode
from agent.service.recogniser import Recogniser, cosine, similarity
from tests.service.pictures import photo

NAMES = ("biden_portrait", "collins_portrait", "obama_podium", "obama_portrait")
SAME_PERSON = 80.0  # the default threshold


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser()


def turned(pixels: Pixels, turn_deg: float) -> bytes:
    """The whole photo, turned clockwise, on a grey background."""
    high, wide = pixels.shape[:2]
    cos, sin = abs(np.cos(np.radians(turn_deg))), abs(np.sin(np.radians(turn_deg)))
    size = (int(wide * cos + high * sin), int(wide * sin + high * cos))
    matrix = cv2.getRotationMatrix2D((wide / 2, high / 2), -turn_deg, 1)
    matrix[:, 2] += ((size[0] - wide) / 2, (size[1] - high) / 2)
    picture = cv2.warpAffine(pixels, matrix, size, borderValue=(127, 127, 127))
    return cv2.imencode(".jpg", picture)[1].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_upright_photo_is_described_as_it_is(recogniser: Recogniser, name: str) -> None:
    assert np.array_equal(
        recogniser.embed(photo(name)).vector, recogniser.embed_reference(photo(name)).vector
    )


@pytest.mark.parametrize("turn_deg", [30, 45, 60, 90, 135, 180, 225, 270, 315, 330])
@pytest.mark.parametrize("name", NAMES)
def test_turned_photo_is_the_same_person_or_refused(
    recogniser: Recogniser, name: str, turn_deg: float
) -> None:
    upright = recogniser.embed(photo(name))
    try:
        found = recogniser.embed_reference(turned(decode(photo(name)), turn_deg))
    except ApiFailure as failure:
        assert turn_deg % 90, "a right angle is always corrected"
        assert (failure.api_code, failure.cause) in ((-1409, Cause.NOT_UPRIGHT), (-1101, Cause.NO_FACE))
    else:
        assert similarity(cosine(upright, found)) > SAME_PERSON


def test_turned_photo_of_another_shot_is_the_same_person(recogniser: Recogniser) -> None:
    shot = recogniser.embed(photo("obama_podium"))
    for turn_deg in (45, 90, 180, 270):
        enrolled = recogniser.embed_reference(turned(decode(photo("obama_portrait")), turn_deg))
        assert similarity(cosine(shot, enrolled)) > SAME_PERSON, turn_deg
        other = recogniser.embed_reference(turned(decode(photo("biden_portrait")), turn_deg))
        assert similarity(cosine(shot, other)) < 70, turn_deg


def test_face_with_two_orientations_is_refused(
    recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A playing card: the same face upright and upside down."""
    pixels = decode(photo("obama_portrait"))
    monkeypatch.setattr("agent.service.recogniser.turn_of", lambda *_: None)
    with pytest.raises(ApiFailure) as caught:
        recogniser.embed_reference(cv2.imencode(".jpg", pixels)[1].tobytes())
    assert (caught.value.api_code, caught.value.cause) == (-1409, Cause.NOT_UPRIGHT)
