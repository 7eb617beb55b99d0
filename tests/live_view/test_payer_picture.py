"""The picture for the payer's screen: nothing outside the oval leaves the process recognisably."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.core.model import Frame
from agent.core.policy import PolicyLimits
from agent.errors import ImageError
from agent.live_view.payer_picture import CELLS, SIDE_PX, masked, oval_mask, payer_picture
from agent.resources import data
from agent.vision.detector import Detector

Pixels = NDArray[np.uint8]
OUTSIDE = cv2.dilate(oval_mask(), np.ones((5, 5), np.uint8)) == 0


def frame(pixels: object) -> Frame:
    high, wide = getattr(pixels, "shape", (0, 0))[:2]
    return Frame(pixels, 1, 0, wide, high)


def decoded(jpeg: bytes) -> Pixels:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_outside_the_oval_only_the_means_of_cells_leave(seed: int) -> None:
    """Two pictures with the same means of cells, and with other details: equal outside the oval."""
    random = np.random.default_rng(seed)
    cell = SIDE_PX // CELLS
    means = random.integers(30, 220, (CELLS, CELLS, 3), np.uint8)
    flat = np.kron(means, np.ones((cell, cell, 1), np.uint8)).astype(np.uint8)
    details = np.where(np.indices(flat.shape[:2]).sum(axis=0)[..., None] % 2, 25, -25)
    detailed = (flat.astype(int) + details).astype(np.uint8)
    one, other = masked(flat).astype(int), masked(detailed).astype(int)
    assert np.abs(one - other)[OUTSIDE].max() <= 1
    assert np.abs(one - other)[~OUTSIDE].max() >= 20, "inside the oval the details are shown"


def test_bystander_beside_the_oval_is_no_face_any_more() -> None:
    """The detector finds the face before, at the place beside the oval, and finds none in the picture."""
    photo = decoded(data("photos/obama_portrait.jpg").read_bytes())
    (face,) = Detector.load().detect(photo)
    left, top = max(0, round(face.box.x_px) - 30), max(0, round(face.box.y_px) - 30)
    size = round(max(face.box.width_px, face.box.height_px)) + 60
    crop = cv2.resize(photo[top : top + size, left : left + size], (140, 140))
    scene = np.full((720, 1280, 3), 90, np.uint8)
    scene[40:180, 285:425] = crop  # in the square around the middle, outside the oval
    assert len(Detector.load().detect(scene)) == 1
    picture = decoded(payer_picture(frame(scene), PolicyLimits()))
    larger = np.asarray(cv2.resize(picture, (960, 960)), np.uint8)
    assert Detector.load().detect(larger) == ()


def test_picture_is_mirrored_square_and_around_the_payer_zone() -> None:
    scene = np.full((720, 1280, 3), 90, np.uint8)
    scene[300:420, 660:720] = (0, 0, 255)  # right of the middle: on the left of a mirror
    picture = decoded(payer_picture(frame(scene), PolicyLimits()))
    assert picture.shape == (SIDE_PX, SIDE_PX, 3)
    red = (picture[..., 2].astype(int) - picture[..., 0]) > 100
    columns = np.flatnonzero(red.any(axis=0))
    assert columns.size and columns.max() <= SIDE_PX // 2 + 2
    moved = decoded(payer_picture(frame(scene), PolicyLimits(zone_left=0.6, zone_right=1.0)))
    columns = np.flatnonzero(((moved[..., 2].astype(int) - moved[..., 0]) > 100).any(axis=0))
    assert columns.min() > SIDE_PX // 2, "the zone is on the right of the frame, so the object is left of it"


@pytest.mark.parametrize("shape", [(720, 1280), (1280, 720), (480, 640), (64, 64), (65, 301)])
def test_every_shape_of_a_frame_gives_a_picture_and_stays_unchanged(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (*shape, 3), np.uint8)
    before = pixels.copy()
    assert decoded(payer_picture(frame(pixels), PolicyLimits())).shape == (SIDE_PX, SIDE_PX, 3)
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize(
    "pixels",
    [None, np.zeros((720, 1280), np.uint8), np.zeros((8, 8, 3), np.uint8), np.zeros((720, 1280, 3))],
)
def test_frame_without_a_picture_is_refused(pixels: object) -> None:
    with pytest.raises(ImageError):
        payer_picture(frame(pixels), PolicyLimits())
