"""Quality measures on the real photos: useful scales, and each measure is monotonic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, fields, replace
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.model import Box, Landmarks, Point, Quality
from agent.core.policy import PolicyLimits, face_reason
from agent.core.reasons import FrameReason
from agent.vision import quality
from tests.core.builders import even
from tests.vision.people import NAMES, Pixels, detector, face_of, photo, standing

LIMITS = PolicyLimits()


def judged(frame: Pixels) -> FrameReason:
    (found,) = detector().detect(frame)
    return face_reason(found, quality.measure(frame, found), 1280, 720, LIMITS)


def marks(nose_x: float, *, nose_y: float = 50.0, roll: float = 0.0) -> Landmarks:
    """Eyes 100 apart around (0, 0), the mouth 90 below, all turned by ``roll`` degrees in the picture."""
    c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    points = [(-50, 0), (50, 0), (nose_x, nose_y), (-30, 90), (30, 90)]
    return Landmarks(*(Point(c * x - s * y, s * x + c * y) for x, y in points))


@pytest.mark.parametrize("name", NAMES)
def test_each_person_in_front_of_the_camera_is_a_shot(name: str) -> None:
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
        return  # too bright for a detection
    assert judged(frame) is reason


@pytest.mark.parametrize("name", NAMES)
def test_backlit_face_differs_from_a_face_at_night(name: str) -> None:
    """The same dark face, the same shop: only the background differs."""
    frame = standing(name, light=0.15)
    (found,) = detector().detect(frame)
    box = found.box
    bright = np.full_like(frame, 235)
    rows = slice(int(box.y_px), int(box.y_px + box.height_px))
    columns = slice(int(box.x_px), int(box.x_px + box.width_px))
    bright[rows, columns] = frame[rows, columns]
    assert face_reason(found, quality.measure(frame, found), 1280, 720, LIMITS) is FrameReason.TOO_DARK
    assert face_reason(found, quality.measure(bright, found), 1280, 720, LIMITS) is FrameReason.BACKLIT


@pytest.mark.parametrize("is_left", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_light_from_one_side_has_its_own_reason(name: str, is_left: bool) -> None:
    frame = standing(name)
    (found,) = detector().detect(frame)
    middle_px = round(found.box.centre.x_px)
    half = slice(0, middle_px) if is_left else slice(middle_px, 1280)
    frame[:, half] = (frame[:, half] * 0.15).astype(np.uint8)
    assert face_reason(found, quality.measure(frame, found), 1280, 720, LIMITS) is FrameReason.SIDE_LIT


def test_turned_head_is_turned() -> None:
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
def test_sharpness_never_rises_with_blur(name: str, sigma: float, factor: float) -> None:
    gray = face_of(name)
    some = cv2.GaussianBlur(gray, (0, 0), sigma).astype(np.uint8)
    more = cv2.GaussianBlur(gray, (0, 0), sigma * factor).astype(np.uint8)
    assert quality.sharpness(more) <= quality.sharpness(some) + 0.5  # half a point: rounding to whole levels


@given(st.sampled_from(NAMES), st.floats(0.4, 1.0))
def test_sharpness_does_not_change_with_the_gain(name: str, gain: float) -> None:
    gray = face_of(name)
    dimmed = np.round(gray * gain).astype(np.uint8)
    assert quality.sharpness(dimmed) == pytest.approx(quality.sharpness(gray), abs=3)


def moved(frame: Pixels, length_px: int, degrees: float) -> Pixels:
    """The frame with a motion of ``length_px`` during its exposure."""
    kernel, middle = np.zeros((length_px, length_px), np.float32), (length_px - 1) / 2
    kernel[length_px // 2] = 1.0
    turn = cv2.getRotationMatrix2D((middle, middle), degrees, 1.0)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length_px, length_px)), np.float32)
    return cv2.filter2D(frame, -1, kernel / kernel.sum()).astype(np.uint8, copy=False)


@cache
def grain(sigma: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Sensor noise of a frame of ``standing``, the same in all tests: drawn once, 80 ms of CPU."""
    return np.random.default_rng(1).normal(0, sigma, (720, 1280, 3)).astype(np.float32)


@pytest.mark.parametrize("length_px", [21, 31])
@pytest.mark.parametrize("degrees", [0.0, 40.0, 90.0])
@pytest.mark.parametrize("noise", [0.0, 5.0])
@pytest.mark.parametrize("name", NAMES)
def test_face_with_motion_blur_is_blurred_in_every_direction(
    name: str, noise: float, degrees: float, length_px: int
) -> None:
    frame = moved(standing(name), length_px, degrees)
    assert judged(np.clip(frame + grain(noise), 0, 255).astype(np.uint8)) is FrameReason.BLURRED


@pytest.mark.parametrize("sigma", [5.0, 10.0])
@pytest.mark.parametrize("name", NAMES)
def test_sensor_noise_does_not_make_a_sharp_face_blurred(name: str, sigma: float) -> None:
    frame = standing(name)
    assert judged(np.clip(frame + grain(sigma), 0, 255).astype(np.uint8)) is FrameReason.SHOT


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_flat_picture_is_not_sharp(level: int) -> None:
    assert quality.sharpness(np.full((40, 30), level, np.uint8)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 9), (9, 2), (9, 9, 3)])
def test_sharpness_of_an_invalid_picture_raises(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="3 × 3"):
        quality.sharpness(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("nose_x", "score"), [(0, 100), (30, 50), (-30, 50), (60, 0), (500, 0)])
def test_yaw_scale(nose_x: float, score: float) -> None:
    assert quality.head_pose_yaw(marks(nose_x)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("share", "score"),
    [(0.56, 100), (0.51, 100), (0.61, 100), (0.76, 50), (0.36, 50), (0.91, 0), (0, 0), (9, 0)],
)
def test_pitch_scale(share: float, score: float) -> None:
    """``share``: position of the nose between the eyes and the mouth."""
    assert quality.head_pose_pitch(marks(0, nose_y=90 * share)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("degrees", "score"), [(0, 100), (25, 82.1), (-25, 82.1), (45, 50), (90, 0), (180, 0)]
)
def test_roll_scale(degrees: float, score: float) -> None:
    assert quality.head_pose_roll(marks(0, roll=degrees)) == pytest.approx(score, abs=0.1)


@given(st.floats(-80, 80), st.floats(0, 90), st.floats(-45, 45))
def test_roll_does_not_change_yaw_and_pitch(nose_x: float, nose_y: float, roll: float) -> None:
    upright, rolled = marks(nose_x, nose_y=nose_y), marks(nose_x, nose_y=nose_y, roll=roll)
    assert quality.head_pose_yaw(rolled) == pytest.approx(quality.head_pose_yaw(upright), abs=1e-6)
    assert quality.head_pose_pitch(rolled) == pytest.approx(quality.head_pose_pitch(upright), abs=1e-6)


@given(st.floats(0, 200), st.floats(0, 200))
def test_yaw_score_never_rises_with_the_turn(one: float, two: float) -> None:
    less, more = sorted((one, two))
    assert quality.head_pose_yaw(marks(more)) <= quality.head_pose_yaw(marks(less))


@given(st.floats(0, 200), st.floats(0, 200), st.sampled_from([-1, 1]))
def test_pitch_score_never_rises_with_the_pitch(one: float, two: float, way: int) -> None:
    level, (less, more) = 0.56 * 90, sorted((one, two))
    scores = [quality.head_pose_pitch(marks(0, nose_y=level + way * off)) for off in (less, more)]
    assert scores[1] <= scores[0]


@given(st.floats(0, 180), st.floats(0, 180))
def test_roll_score_never_rises_with_the_roll(one: float, two: float) -> None:
    less, more = sorted((one, two))
    scores = [quality.head_pose_roll(marks(0, roll=angle)) for angle in (less, more)]
    assert scores[1] <= scores[0] + 1e-9


NOWHERE = replace(marks(0), nose=Point(math.nan, 0), left_eye=Point(math.nan, math.nan))


@pytest.mark.parametrize("measure", [quality.head_pose_yaw, quality.head_pose_pitch])
def test_pose_scores_of_eyes_at_one_point_or_nan_are_zero(measure: Callable[[Landmarks], float]) -> None:
    assert measure(replace(marks(0), left_eye=Point(-50, 0))) == 0.0
    assert measure(NOWHERE) == 0.0


def test_face_outside_the_frame_has_zero_measures() -> None:
    assert quality.head_pose_roll(NOWHERE) == 0.0
    assert quality.inter_eye_distance(NOWHERE) == 0.0


@pytest.mark.parametrize(("factor", "score"), [(0, 0), (0.4, 50), (0.8, 100), (5, 100)])
def test_eye_distance_scale(factor: float, score: float) -> None:
    near = marks(0)
    far = replace(near, left_eye=Point(-50 + 100 * factor, 0))
    assert quality.inter_eye_distance(far) == pytest.approx(score)


@pytest.mark.parametrize(
    ("box", "score"),
    [
        pytest.param(Box(590, 310, 100, 100), 100, id="in the middle"),
        pytest.param(Box(40, 310, 100, 100), 100, id="exactly enough margin at the left"),
        pytest.param(Box(0, 310, 100, 100), 20, id="at the left edge"),
        pytest.param(Box(1180, 310, 100, 100), 20, id="at the right edge"),
        pytest.param(Box(590, 0, 100, 100), 20, id="at the upper edge"),
        pytest.param(Box(590, 640, 100, 100), 0, id="cut off below"),
        pytest.param(Box(590, 310, 0, 100), 0, id="without an area"),
        pytest.param(Box(math.nan, 310, 100, 100), 0, id="nowhere"),
    ],
)
def test_crop_margins_scale(box: Box, score: float) -> None:
    assert quality.crop_margins(box, 1280, 720) == pytest.approx(score)


@given(st.floats(0, 2000), st.floats(0, 2000))
def test_crop_margins_never_rise_towards_the_edge(one: float, two: float) -> None:
    near, far = sorted((one, two))
    scores = [quality.crop_margins(Box(1280 - 100 - x, 310, 100, 100), 1280, 720) for x in (near, far)]
    assert scores[0] <= scores[1] or far > 1180 - near  # beyond the middle it nears the other edge


@pytest.mark.parametrize(("face", "around"), [(0, 255), (255, 0), (40, 200), (90, 90)])
def test_background_luma_excludes_the_face(face: int, around: int) -> None:
    frame = np.full((720, 1280, 3), around, np.uint8)
    frame[200:400, 500:660] = face
    assert quality.background_luma(frame, Box(500, 200, 160, 200)) == pytest.approx(around / 2.55)


def test_a_face_that_fills_the_frame_has_no_background() -> None:
    assert quality.background_luma(np.zeros((80, 60, 3), np.uint8), Box(-5, -5, 80, 100)) == 50.0


numbers = st.floats(0, 100)
names = st.sampled_from([field.name for field in fields(Quality)])
measured = st.builds(Quality, *[numbers] * 13)


@given(measured, names, numbers)
def test_the_score_never_falls_when_a_part_rises(parts: Quality, name: str, better: float) -> None:
    risen = replace(parts, **{name: max(better, getattr(parts, name))})
    assert quality.score(risen) >= quality.score(parts) - 1e-9
    assert 0.0 <= quality.score(parts) <= 100.0


@pytest.mark.parametrize("name", [field.name for field in fields(Quality)[:10]])
def test_score_with_one_bad_part_is_bad(name: str) -> None:
    assert quality.score(replace(even(100), **{name: 0.0})) == 0.0


def test_score_of_equal_parts_is_the_same_value() -> None:
    assert quality.score(even(80)) == pytest.approx(80)


@pytest.mark.parametrize("box", [Box(5000, 0, 100, 100), Box(-500, 0, 100, 100), Box(10, 10, 1, 1)])
def test_a_face_without_pixels_scores_nothing(box: Box) -> None:
    (found,) = detector().detect(photo("obama_portrait"))
    empty = quality.measure(photo("obama_portrait"), replace(found, box=box))
    assert set(astuple(empty)) == {0.0}
