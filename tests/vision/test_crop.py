"""Crop: only the payer, within the size limit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.model import Box, Detection, Landmarks, Point
from agent.errors import ImageError
from agent.vision.crop import crop_face
from tests.vision.people import Pixels, detector, person, staged, standing

HIGH, WIDE = 480, 640
NOWHERE = Landmarks(*(Point(0.0, 0.0) for _ in range(5)))
RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)  # B, G, R: bystander, payer, surroundings


def at(x: float, y: float, wide: float, high: float) -> Detection:
    return Detection(Box(x, y, wide, high), NOWHERE, 0.9)


def painted(*faces: tuple[Detection, tuple[int, int, int]]) -> Pixels:
    frame = np.empty((HIGH, WIDE, 3), np.uint8)
    frame[:] = BLUE
    for face, colour in faces:
        box = face.box
        corner = round(box.x_px), round(box.y_px)
        opposite = round(box.x_px + box.width_px) - 1, round(box.y_px + box.height_px) - 1
        cv2.rectangle(frame, corner, opposite, colour, -1)
    return frame


def oval(frame: Pixels, face: Detection) -> None:
    """A face in front of all earlier painted faces; at the edge one pixel larger than its box."""
    box = face.box
    centre, half = (box.centre.x_px, box.centre.y_px), (box.width_px / 2 + 1, box.height_px / 2 + 1)
    ys, xs = np.mgrid[:HIGH, :WIDE]
    frame[((xs - centre[0]) / half[0]) ** 2 + ((ys - centre[1]) / half[1]) ** 2 <= 1.0] = GREEN


def decoded(jpeg: bytes) -> Pixels:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(np.uint8, copy=False)


def share_of(picture: Pixels, colour: tuple[int, int, int]) -> float:
    """Share of pixels close to a pure colour, JPEG's chroma losses allowed for."""
    distance = np.abs(picture.astype(np.int32) - np.array(colour)).max(axis=2)
    return float(np.mean(distance < 110))


places = st.tuples(st.integers(0, 500), st.integers(0, 330), st.integers(20, 140), st.integers(20, 150))


@given(places, st.lists(places, min_size=1, max_size=3), st.floats(0.1, 1.0))
def test_crop_contains_no_pixel_of_another_face(
    payer_at: tuple[int, ...], others_at: list[tuple[int, ...]], margin: float
) -> None:
    """Bystanders are red, the payer's face is painted over them, green and oval: any red left is a bystander.

    The corners of the payer's box are checked too: a bystander can be visible there.
    """
    payer, others = at(*payer_at), tuple(at(*place) for place in others_at)
    frame = painted(*((other, RED) for other in others))
    oval(frame, payer)
    jpeg = crop_face(frame, payer, others, margin=margin, max_bytes=61_440).jpeg
    picture = decoded(jpeg)
    assert share_of(picture, RED) == 0.0
    assert share_of(picture, GREEN) > 0.0


@given(places, st.floats(0.1, 0.5))
def test_crop_contains_no_pixel_outside_its_area(payer_at: tuple[int, ...], margin: float) -> None:
    """The crops of two frames that differ only outside the crop have the same bytes."""
    payer = at(*payer_at)
    one = painted((payer, GREEN))
    other = np.full_like(one, 255)
    box, dx, dy = payer.box, margin * payer.box.width_px, margin * payer.box.height_px
    rows = slice(max(0, int(box.y_px - dy)), int(box.y_px + box.height_px + dy) + 1)
    columns = slice(max(0, int(box.x_px - dx)), int(box.x_px + box.width_px + dx) + 1)
    other[rows, columns] = one[rows, columns]
    crops = [crop_face(frame, payer, (), margin=margin, max_bytes=61_440) for frame in (one, other)]
    assert crops[0] == crops[1]


def test_crop_blanks_a_bystander_at_the_shoulder() -> None:
    """Two real people, close together: the crop contains one face, the payer's."""
    frame = staged(person("biden_portrait", 0.36, 0.2), person("obama_portrait", 0.5, 0.4))
    faces = sorted(detector().detect(frame), key=lambda face: -face.box.area_px)
    assert len(faces) == 2
    crop = crop_face(frame, faces[0], (faces[1],), margin=1.0, max_bytes=61_440)
    assert len(detector().detect(decoded(crop.jpeg))) == 1
    bare = crop_face(frame, faces[0], (), margin=1.0, max_bytes=61_440)
    assert len(detector().detect(decoded(bare.jpeg))) == 2, "without blanking the bystander would be sent"


def test_crop_with_overlapping_boxes_keeps_the_payers_face() -> None:
    payer, other = at(200, 100, 160, 200), at(300, 100, 160, 200)
    frame = painted((other, RED))
    oval(frame, payer)
    picture = decoded(crop_face(frame, payer, (other,), margin=0.1, max_bytes=61_440).jpeg)
    assert share_of(picture[60:180, 30:160], GREEN) > 0.95
    assert share_of(picture[20:220, 16:176], GREEN) > 0.75, "an oval fills 0.79 of its box"
    assert share_of(picture, RED) == 0.0


def test_crop_does_not_change_the_frame() -> None:
    payer, other = at(200, 100, 160, 200), at(380, 100, 100, 120)
    frame = painted((other, RED), (payer, GREEN))
    before = frame.copy()
    crop_face(frame, payer, (other,), margin=1.0, max_bytes=61_440)
    assert np.array_equal(frame, before)


def test_crop_of_the_same_shot_has_the_same_bytes() -> None:
    frame = standing("obama_portrait")
    (face,) = detector().detect(frame)
    one, two = (crop_face(frame, face, (), margin=0.4, max_bytes=61_440) for _ in range(2))
    assert one == two
    assert one.jpeg.startswith(b"\xff\xd8")
    assert b"Exif" not in one.jpeg


@pytest.mark.parametrize("limit", [61_440, 20_000, 8_192])
def test_crop_of_noise_fits_and_the_face_stays_large_enough_for_the_api(limit: int) -> None:
    """The worst case for JPEG. Lower quality first, then a smaller picture, never a face below 100 px."""
    frame = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)
    face = at(300, 100, 300, 400)
    crop = crop_face(frame, face, (), margin=0.4, max_bytes=limit)
    assert len(crop.jpeg) <= limit
    picture = decoded(crop.jpeg)
    assert picture.shape[:2] == (crop.height_px, crop.width_px)
    assert crop.width_px / 1.8 >= 100


def test_crop_of_a_large_face_is_scaled_down() -> None:
    frame = standing("obama_portrait", face=0.8)
    (face,) = detector().detect(frame)
    crop = crop_face(frame, face, (), margin=0.4, max_bytes=61_440)
    (sent,) = detector().detect(decoded(crop.jpeg))
    assert sent.box.height_px < 330


def test_crop_of_a_face_outside_the_frame_raises() -> None:
    frame = painted()
    with pytest.raises(ImageError, match="outside the frame"):
        crop_face(frame, at(2000, 0, 100, 100), (), margin=0.4, max_bytes=61_440)


def test_crop_with_an_impossible_limit_raises() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)
    with pytest.raises(ImageError) as caught:
        crop_face(frame, at(300, 100, 120, 500), (), margin=1.0, max_bytes=2_000)
    assert caught.value.code == "image_too_large"
