"""Low-resolution picture as input of the detector: the same faces in pixels of the frame, or not used."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.config import VisionConfig
from agent.core.model import Box, Detection, Frame
from agent.core.policy import PolicyLimits
from agent.vision.face_analyzer import LocalFaceAnalyzer
from agent.vision.low_resolution import can_replace, detect_all
from tests.vision.people import NAMES, Pixels, detector, empty_shop, standing

INPUT_PX = 320


def small_of(bgr: Pixels, wide: int = 320, high: int = 180) -> Pixels:
    """A picture as from the scaler of a camera: bilinear, with half the colour resolution."""
    shrunk = cv2.resize(bgr, (wide, high), interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(cv2.cvtColor(shrunk, cv2.COLOR_BGR2YUV_I420), cv2.COLOR_YUV2BGR_I420).astype(np.uint8)


class Recording:
    """The real detector, with a record of its inputs."""

    def __init__(self) -> None:
        self.given: list[tuple[int, ...]] = []

    def detect(self, bgr: Pixels, width_px: int | None = None) -> tuple[Detection, ...]:
        self.given.append(bgr.shape)
        return detector().detect(bgr, width_px)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0–1."""
    wide = min(one.x_px + one.width_px, other.x_px + other.width_px) - max(one.x_px, other.x_px)
    high = min(one.y_px + one.height_px, other.y_px + other.height_px) - max(one.y_px, other.y_px)
    shared = max(0.0, wide) * max(0.0, high)
    return shared / (one.area_px + other.area_px - shared)


@pytest.mark.parametrize("face", [0.2, 0.32, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_low_resolution_face_has_the_same_place(name: str, face: float) -> None:
    frame = standing(name, face=face)
    face_detector = Recording()
    (by_small,) = detect_all(face_detector, frame, small_of(frame), INPUT_PX)
    (by_frame,) = detect_all(face_detector, frame, None, INPUT_PX)
    assert face_detector.given == [(180, 320, 3), (720, 1280, 3)]
    assert overlap(by_small.box, by_frame.box) > 0.85
    eyes = by_frame.landmarks.left_eye.x_px - by_frame.landmarks.right_eye.x_px
    assert abs(by_small.landmarks.nose.x_px - by_frame.landmarks.nose.x_px) < 0.1 * eyes


def test_low_resolution_picture_without_a_face_has_no_face() -> None:
    frame = empty_shop()
    assert detect_all(detector(), frame, small_of(frame), INPUT_PX) == ()


def test_analyzer_detects_in_low_resolution_and_crops_the_full_frame() -> None:
    pixels, face_detector = standing("obama_podium"), Recording()
    analyzer = LocalFaceAnalyzer(VisionConfig(), PolicyLimits(), face_detector)
    analyzer.begin(0)
    analysis = analyzer.analyze(Frame(pixels, 1, 0, 1280, 720, small_of(pixels)))
    assert face_detector.given == [(180, 320, 3)]
    assert analysis.shot is not None
    assert analyzer.crop(analysis.shot).width_px > 200, "a crop of the low-resolution picture would have 60"


def flat(*shape: int) -> Pixels:
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize(
    "small",
    [
        pytest.param(None, id="none"),
        pytest.param("pixels", id="no picture"),
        pytest.param(flat(240, 320, 3), id="another view"),
        pytest.param(flat(90, 160, 3), id="too small for the detector"),
        pytest.param(flat(180, 320), id="grey"),
        pytest.param(flat(180, 320, 4), id="four channels"),
        pytest.param(np.zeros((180, 320, 3), np.float32), id="other numbers"),
        pytest.param(flat(0, 0, 3), id="empty"),
        pytest.param(flat(1440, 2560, 3), id="larger than the frame"),
    ],
)
def test_unsuitable_low_resolution_picture_is_not_used(small: object) -> None:
    frame, face_detector = standing("obama_podium"), Recording()
    assert len(detect_all(face_detector, frame, small, INPUT_PX)) == 1
    assert face_detector.given == [frame.shape]


def pixels_of(wide: int, high: int) -> Pixels:
    """A picture of any size in one byte of memory."""
    return np.broadcast_to(np.uint8(0), (high, wide, 3))


@given(*[st.integers(1, 2_000)] * 4)
@example(102, 101, 101, 102)  # higher than the frame, with nearly equal scales
def test_used_low_resolution_picture_has_equal_scales(
    wide: int, high: int, small_wide: int, small_high: int
) -> None:
    frame, small = pixels_of(wide, high), pixels_of(small_wide, small_high)
    if can_replace(small, frame, INPUT_PX):
        assert small_wide <= wide and small_high <= high
        assert max(small_wide, small_high) >= min(INPUT_PX, max(wide, high))
        assert abs(wide * small_high - small_wide * high) <= 0.02 * small_wide * high * 1.001


@pytest.mark.parametrize(
    ("small", "is_used"),
    [
        ((720, 1280), True),  # the same size
        ((720, 1281), False),
        ((706, 1280), True),  # the scales differ by 1.9 %
        ((705, 1280), False),  # by 2.1 %
        ((180, 320), True),
        ((180, 319), False),  # smaller than the input of the detector
    ],
)
def test_low_resolution_picture_at_the_limits_of_its_size(small: tuple[int, int], is_used: bool) -> None:
    frame = np.zeros((720, 1280, 3), np.uint8)
    assert can_replace(np.zeros((*small, 3), np.uint8), frame, INPUT_PX) is is_used
