"""YuNet on the real photos: boxes in pixels of the picture, typed values, finite numbers."""

from __future__ import annotations

import math
from copy import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.camera.simulated.scene import load_photos
from agent.core.model import Detection
from agent.core.policy import is_well_formed
from agent.vision.detector import Detector
from agent.vision.embedding import align
from agent.vision.models import SFACE, YUNET, locate
from tests.vision.people import NAMES, detector, empty_shop, person, photo, staged, standing


@pytest.mark.parametrize("name", NAMES)
def test_detector_finds_one_face_per_photo_at_the_indexed_place(name: str) -> None:
    (found,) = detector().detect(photo(name))
    x, y, wide, high = load_photos()[name].face
    box = found.box
    assert box.centre.x_px == pytest.approx(x + wide / 2, abs=0.1 * high)
    assert box.centre.y_px == pytest.approx(y + high / 2, abs=0.1 * high)
    assert found.landmarks.right_eye.x_px < found.landmarks.nose.x_px + 0.1 * wide
    assert found.landmarks.right_eye.x_px < found.landmarks.left_eye.x_px


def test_detector_finds_no_face_in_an_empty_shop() -> None:
    assert detector().detect(empty_shop()) == ()


def test_detector_finds_two_faces_of_two_people() -> None:
    frame = staged(person("biden_portrait", 0.3, 0.3), person("collins_portrait", 0.7, 0.3))
    assert len(detector().detect(frame)) == 2


def test_detector_accepts_changing_picture_sizes() -> None:
    frame = standing("obama_portrait")
    small = cv2.resize(frame, (640, 480)).astype(np.uint8)
    for _ in range(2):
        for picture in (frame, small, photo("obama_podium")):
            (found,) = detector().detect(picture)
            assert 0 < found.box.centre.x_px < picture.shape[1]


def test_a_twin_has_the_same_weights_and_its_own_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Detector.load(confidence=0.99)
    monkeypatch.setattr(np, "fromfile", lambda *_arguments: pytest.fail("the weights were read again"))
    near = one.second_network()
    assert near.detect(photo("obama_portrait")) == (), "the same confidence"
    frame = standing("obama_portrait")
    assert detector().second_network().detect(frame) == detector().detect(frame)
    one.wipe()
    assert near._scaler is not one._scaler
    assert near._net is not one._net


def test_detector_with_a_wider_input_finds_a_far_face() -> None:
    far = standing("collins_portrait", face=0.04)
    assert detector().detect(far) == ()
    assert len(detector().detect(far, width_px=1280)) == 1


def test_detector_uses_only_the_configured_confidence() -> None:
    strict = Detector.load(confidence=0.99)
    assert strict.detect(photo("obama_portrait")) == ()


@pytest.mark.parametrize("shape", [(1, 1, 3), (0, 10, 3), (15, 4000, 3), (4000, 15, 3), (64, 64, 3)])
def test_pictures_without_room_for_a_face(shape: tuple[int, ...]) -> None:
    assert detector().detect(np.zeros(shape, np.uint8)) == ()


@given(st.integers(1, 2_000), st.integers(1, 2_000), st.sampled_from([None, 96, 160, 320, 960]))
def test_no_side_of_the_input_of_the_network_is_below_33_px(
    width_px: int, height_px: int, input_px: int | None
) -> None:
    """At 32 px the last maps are one cell wide: OpenCV reads what another run left in the memory."""
    inputs = list[tuple[int, ...]]()

    class Recorded(Detector):
        def infer(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
            inputs.append(picture.shape[:2])
            return np.empty((0, 15), np.float32)

    one = copy(detector())
    one.__class__ = Recorded
    assert one.detect(np.zeros((height_px, width_px, 3), np.uint8), input_px) == ()
    assert all(min(shape) >= 33 for shape in inputs)


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white(level: int) -> None:
    assert detector().detect(np.full((720, 1280, 3), level, np.uint8)) == ()


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3), np.float32)],
    ids=["grey", "with alpha", "float"],
)
def test_detector_refuses_an_invalid_picture(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8"):
        detector().detect(pixels)


class OddNet:
    """A network that returns rows which the documentation of YuNet does not exclude."""

    def setInputSize(self, size: tuple[int, int]) -> None: ...

    def detect(self, _: object) -> tuple[int, NDArray[np.float32]]:
        good = np.array([10, 10, 50, 60, *range(20, 30), 0.9], np.float32)
        rows = [good.copy() for _ in range(4)]
        rows[0][6] = math.nan
        rows[1][2] = 0
        rows[2][14] = math.inf
        return 1, np.stack(rows)


def test_rows_that_are_not_finite_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Detector(locate(YUNET))
    monkeypatch.setattr(odd, "_net", OddNet())
    (only,) = odd.detect(np.zeros((240, 320, 3), np.uint8))
    assert is_well_formed(only)


# --- the interface to the face recogniser -----------------------------------------------------------


def embedding(picture: NDArray[np.uint8], found: Detection) -> NDArray[np.float32]:
    sface = cv2.FaceRecognizerSF.create(str(locate(SFACE)), "")
    return sface.feature(align(picture, found)).astype(np.float32)


def test_landmarks_of_the_detector_fit_the_recogniser() -> None:
    """The landmarks have the order of YuNet: with another order the two photos would not be similar."""
    vectors = []
    for name in ("obama_portrait", "obama_podium", "biden_portrait"):
        (found,) = detector().detect(photo(name))
        vector = embedding(photo(name), found).ravel()
        vectors.append(vector / np.linalg.norm(vector))
    same, other = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    assert same > 0.6
    assert other < 0.3


def test_detector_makes_the_network_again_after_a_large_photograph_only(tmp_path: Path) -> None:
    """Not for each frame of a wide input: it takes as long as the detection. The file may be gone then."""
    model = tmp_path / "yunet.onnx"
    model.write_bytes(locate(YUNET).read_bytes())
    detector = Detector(model, width_px=960)
    model.unlink()
    frame, photograph = np.zeros((960, 960, 3), np.uint8), np.zeros((1_200, 1_200, 3), np.uint8)
    network = detector._net
    detector.detect(frame)
    assert detector._net is network
    detector.detect(photograph, width_px=1_200)
    assert detector._net is not network
    assert detector.detect(frame) == ()
