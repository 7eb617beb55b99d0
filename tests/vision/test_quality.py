"""Quality on the real photographs: the scales mean something, and they only ever run one way."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.model import Box, Landmarks, Point
from agent.core.policy import PolicyLimits, gate
from agent.core.reasons import FrameReason
from agent.vision import quality
from tests.vision.people import NAMES, Pixels, detector, photo, standing

LIMITS = PolicyLimits()


def judged(frame: Pixels) -> FrameReason:
    (found,) = detector().detect(frame)
    return gate(found, quality.measure(frame, found), 1280, 720, LIMITS)


def face_of(name: str) -> Pixels:
    (found,) = detector().detect(photo(name))
    return quality.face_gray(photo(name), found.box)


def marks(nose_x: float, *, roll: float = 0.0) -> Landmarks:
    """Eyes 100 apart around (0, 0), the nose 50 below, all turned by ``roll`` degrees in the picture."""
    c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    points = [(-50, 0), (50, 0), (nose_x, 50), (-30, 90), (30, 90)]
    return Landmarks(*(Point(c * x - s * y, s * x + c * y) for x, y in points))


@pytest.mark.parametrize("name", NAMES)
def test_each_person_standing_there_is_a_shot(name: str) -> None:
    assert judged(standing(name)) is FrameReason.SHOT


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"blur": 0.01}, FrameReason.SHOT),
        ({"blur": 0.03}, FrameReason.BLURRED),
        ({"light": 0.5}, FrameReason.SHOT),
        ({"light": 0.15}, FrameReason.TOO_DARK),
        ({"light": 2.6}, FrameReason.TOO_BRIGHT),
        ({"face": 0.12}, FrameReason.TOO_SMALL),
    ],
    ids=["a little soft", "out of focus", "evening", "night", "glare", "far away"],
)
def test_gates_on_every_person(name: str, how: dict[str, float], reason: FrameReason) -> None:
    frame = standing(name, **how)
    if reason is FrameReason.TOO_BRIGHT and not detector().detect(frame):
        return  # so bright that there is no face left to judge
    assert judged(frame) is reason


def test_a_turned_head_is_turned() -> None:
    assert judged(standing("obama_portrait", turn=55)) is FrameReason.TURNED


@pytest.mark.parametrize(
    ("sigma", "least", "most"), [(0.0, 55, 100), (1.0, 5, 70), (3.0, 0, 20)], ids=["sharp", "soft", "blurred"]
)
@pytest.mark.parametrize("name", NAMES)
def test_sharpness_scale(name: str, sigma: float, least: float, most: float) -> None:
    gray = face_of(name)
    if sigma:
        gray = cv2.GaussianBlur(gray, (0, 0), sigma).astype(np.uint8)
    assert least <= quality.sharpness(gray) <= most


@given(st.sampled_from(NAMES), st.floats(0.4, 6), st.floats(1.1, 3))
def test_more_blur_never_looks_sharper(name: str, sigma: float, factor: float) -> None:
    gray = face_of(name)
    some = cv2.GaussianBlur(gray, (0, 0), sigma).astype(np.uint8)
    more = cv2.GaussianBlur(gray, (0, 0), sigma * factor).astype(np.uint8)
    assert quality.sharpness(more) <= quality.sharpness(some) + 0.5  # half a point: rounding to whole levels


@given(st.sampled_from(NAMES), st.floats(0.4, 1.0))
def test_sharpness_does_not_change_with_the_gain(name: str, gain: float) -> None:
    gray = face_of(name)
    dimmed = np.round(gray * gain).astype(np.uint8)
    assert quality.sharpness(dimmed) == pytest.approx(quality.sharpness(gray), abs=3)


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_flat_picture_is_not_sharp(level: int) -> None:
    assert quality.sharpness(np.full((40, 30), level, np.uint8)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 9), (9, 2), (9, 9, 3)])
def test_sharpness_needs_a_gray_picture_with_an_inside(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="3 × 3"):
        quality.sharpness(np.zeros(shape, np.uint8))


@given(st.sampled_from(NAMES), st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_darker_is_never_better_lit(name: str, one: float, two: float) -> None:
    gray = face_of(name)
    dark, light = sorted((one, two))
    scores = [quality.under_exposure(np.round(gray * gain).astype(np.uint8)) for gain in (dark, light)]
    assert scores[0] <= scores[1]


@given(st.sampled_from(NAMES), st.floats(1, 4), st.floats(1, 4))
def test_brighter_is_never_less_clipped(name: str, one: float, two: float) -> None:
    gray = face_of(name)
    less, more = sorted((one, two))
    scores = [
        quality.over_exposure(cv2.convertScaleAbs(gray, alpha=a).astype(np.uint8)) for a in (less, more)
    ]
    assert scores[1] <= scores[0]


@pytest.mark.parametrize(
    ("gray", "under", "over"),
    [
        pytest.param(np.zeros((20, 20), np.uint8), 0, 100, id="black"),
        pytest.param(np.full((20, 20), 120, np.uint8), 100, 100, id="mid grey"),
        pytest.param(np.full((20, 20), 255, np.uint8), 100, 0, id="white"),
        pytest.param(np.empty((0, 0), np.uint8), 0, 0, id="nothing"),
    ],
)
def test_exposure_scale(gray: Pixels, under: float, over: float) -> None:
    assert quality.under_exposure(gray) == under
    assert quality.over_exposure(gray) == over


@pytest.mark.parametrize(("nose_x", "score"), [(0, 100), (30, 50), (-30, 50), (60, 0), (500, 0)])
def test_yaw_scale(nose_x: float, score: float) -> None:
    assert quality.yaw(marks(nose_x)) == pytest.approx(score)


@given(st.floats(-80, 80), st.floats(-45, 45))
def test_a_rolled_head_is_not_a_turned_head(nose_x: float, roll: float) -> None:
    assert quality.yaw(marks(nose_x, roll=roll)) == pytest.approx(quality.yaw(marks(nose_x)), abs=1e-6)


@given(st.floats(0, 200), st.floats(0, 200))
def test_more_turned_never_looks_more_frontal(one: float, two: float) -> None:
    less, more = sorted((one, two))
    assert quality.yaw(marks(more)) <= quality.yaw(marks(less))


def test_eyes_in_one_place_or_nowhere_are_not_frontal() -> None:
    same = replace(marks(0), left_eye=Point(-50, 0))
    nowhere = replace(marks(0), nose=Point(math.nan, 0))
    assert quality.yaw(same) == 0.0
    assert quality.yaw(nowhere) == 0.0


@pytest.mark.parametrize(("height", "score"), [(0, 0), (100, 50), (200, 100), (900, 100)])
def test_size_scale(height: float, score: float) -> None:
    assert quality.size(marks(0), Box(0, 0, 100, height)) == pytest.approx(score)


parts = st.floats(0, 100)


@given(parts, parts, parts, parts, parts)
def test_the_score_never_falls_when_a_part_rises(
    a: float, b: float, c: float, d: float, better: float
) -> None:
    assert quality.score(max(a, better), b, c, d) >= quality.score(a, b, c, d) - 1e-9
    assert 0.0 <= quality.score(a, b, c, d) <= 100.0


def test_one_bad_part_cannot_be_bought_off() -> None:
    assert quality.score(100, 100, 100, 0) == 0.0
    assert quality.score(80, 80, 80, 80) == pytest.approx(80)


@pytest.mark.parametrize("box", [Box(5000, 0, 100, 100), Box(-500, 0, 100, 100), Box(10, 10, 1, 1)])
def test_a_face_without_pixels_scores_nothing(box: Box) -> None:
    (found,) = detector().detect(photo("obama_portrait"))
    empty = quality.measure(photo("obama_portrait"), replace(found, box=box))
    assert set(astuple(empty)) == {0.0}
