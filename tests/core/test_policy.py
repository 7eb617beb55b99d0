"""Policy: selection of the payer and quality limits, by examples and by rules for every input."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import PolicyConfig
from agent.core.hints import hint_for
from agent.core.judgement import judge
from agent.core.model import Analysis, Box, Detection, FaceLight, Landmarks, Point, Quality
from agent.core.policy import (
    PolicyLimits,
    choose_face,
    coordinates,
    face_light,
    face_reason,
    is_well_formed,
)
from agent.core.reasons import FrameReason, Guidance
from tests.core.builders import even

WIDE, HIGH = 1280, 720
LIMITS = PolicyLimits()
GOOD = replace(even(90), face_luma=55, background_luma=50)


MEASURES = tuple(name.removeprefix("min_") for name in PolicyConfig.model_fields if name.startswith("min_"))[
    1:
]


def dim(background: float) -> Quality:
    """A face of 20 % luma in front of a background with this luma in percent."""
    return replace(GOOD, under_exposure_prevention=29, face_luma=20, background_luma=background)


def face(
    x: float = 640, y: float = 330, wide: float = 150, high: float = 200, sure: float = 0.9
) -> Detection:
    """A frontal face with its centre at (x, y)."""
    marks = Landmarks(
        Point(x - 0.2 * wide, y - 0.1 * high),
        Point(x + 0.2 * wide, y - 0.1 * high),
        Point(x, y + 0.05 * high),
        Point(x - 0.15 * wide, y + 0.25 * high),
        Point(x + 0.15 * wide, y + 0.25 * high),
    )
    return Detection(Box(x - wide / 2, y - high / 2, wide, high), marks, sure)


def scaled(x: float, share: float) -> Detection:
    """A face with ``share`` of the area of ``face()``."""
    side = math.sqrt(share)
    return face(x=x, wide=150 * side, high=200 * side)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        pytest.param([], FrameReason.NO_FACE, id="no face"),
        pytest.param([face()], None, id="one person in the centre"),
        pytest.param([face(x=100)], FrameReason.OFF_CENTRE, id="one person at the edge"),
        pytest.param([face(x=400), face(x=800)], FrameReason.MULTIPLE_FACES, id="two faces of the same size"),
        pytest.param([face(x=400), scaled(800, 0.49)], None, id="half the area is dominated"),
        pytest.param(
            [face(x=400), scaled(800, 0.51)],
            FrameReason.MULTIPLE_FACES,
            id="slightly more than half is a rival",
        ),
        pytest.param([face(), face(x=100)], None, id="a person beside the zone is no rival"),
        pytest.param(
            [face(), face(x=100, wide=300, high=400)], None, id="a larger person beside the zone is no rival"
        ),
        pytest.param([scaled(400, 0.1), scaled(800, 0.1)], None, id="two far people: come closer first"),
        pytest.param([replace(face(), confidence=math.nan)], FrameReason.NO_FACE, id="nan is no face"),
        pytest.param([face(wide=0)], FrameReason.NO_FACE, id="a box without an area is no face"),
    ],
)
def test_choose_face(found: list[Detection], reason: FrameReason | None) -> None:
    assert choose_face(found, WIDE, HIGH, LIMITS).reason is reason


def test_choose_face_returns_all_other_faces_as_bystanders() -> None:
    payer, near, far = face(x=500), scaled(900, 0.3), scaled(100, 0.1)
    choice = choose_face([far, payer, near], WIDE, HIGH, LIMITS)
    assert choice.face is payer
    assert set(choice.others) == {near, far}


@pytest.mark.parametrize(
    ("found", "quality", "reason"),
    [
        pytest.param(face(), GOOD, FrameReason.SHOT, id="good"),
        pytest.param(face(wide=99), GOOD, FrameReason.TOO_SMALL, id="too narrow for the API"),
        pytest.param(face(wide=500, high=660), GOOD, FrameReason.TOO_LARGE, id="fills the frame"),
        pytest.param(face(y=40), GOOD, FrameReason.OFF_CENTRE, id="cut off by the upper edge"),
        pytest.param(face(), replace(GOOD, inter_eye_distance=49), FrameReason.TOO_SMALL, id="eyes too near"),
        pytest.param(face(), replace(GOOD, head_pose_yaw=49), FrameReason.TURNED, id="looks away"),
        pytest.param(face(), replace(GOOD, head_pose_pitch=29), FrameReason.TURNED, id="looks down"),
        pytest.param(face(), replace(GOOD, head_pose_roll=49), FrameReason.TURNED, id="leans over"),
        pytest.param(face(), dim(20), FrameReason.TOO_DARK, id="dark"),
        pytest.param(face(), dim(49), FrameReason.TOO_DARK, id="not much brighter behind"),
        pytest.param(face(), dim(50), FrameReason.BACKLIT, id="a window behind"),
        pytest.param(
            face(), replace(GOOD, over_exposure_prevention=29), FrameReason.TOO_BRIGHT, id="blown out"
        ),
        pytest.param(face(), replace(GOOD, dynamic_range=19), FrameReason.TOO_BRIGHT, id="bright fog"),
        pytest.param(
            face(), replace(GOOD, dynamic_range=19, face_luma=30), FrameReason.TOO_DARK, id="dark fog"
        ),
        pytest.param(
            face(),
            replace(GOOD, illumination_uniformity=29, face_luma=30),
            FrameReason.SIDE_LIT,
            id="light from one side",
        ),
        pytest.param(face(), replace(GOOD, sharpness=29), FrameReason.BLURRED, id="blurred"),
        pytest.param(face(), replace(GOOD, eyes_visible=49), FrameReason.COVERED, id="dark glasses"),
        pytest.param(face(), replace(GOOD, mouth_occlusion_prevention=49), FrameReason.COVERED, id="a mask"),
        pytest.param(
            face(), replace(GOOD, eyes_visible=math.nan), FrameReason.NO_FACE, id="nan eyes pass nothing"
        ),
        pytest.param(
            face(wide=99),
            replace(GOOD, head_pose_yaw=0, sharpness=0),
            FrameReason.TOO_SMALL,
            id="size comes first",
        ),
        pytest.param(
            face(),
            replace(GOOD, head_pose_yaw=0, under_exposure_prevention=0, sharpness=0),
            FrameReason.TURNED,
            id="then pose",
        ),
        pytest.param(face(), replace(GOOD, score=math.nan), FrameReason.NO_FACE, id="nan passes nothing"),
    ],
)
def test_face_reason_names_the_first_measure_below_its_limit(
    found: Detection, quality: Quality, reason: FrameReason
) -> None:
    assert face_reason(found, quality, WIDE, HIGH, LIMITS) is reason


@pytest.mark.parametrize(
    ("x", "hint"),
    [(60, Guidance.MOVE_LEFT), (1220, Guidance.MOVE_RIGHT), (640, None)],
    ids=["at the picture's left", "at its right", "above or below the zone"],
)
def test_hint_uses_the_left_and_right_of_the_payer(x: float, hint: Guidance | None) -> None:
    assert hint_for(FrameReason.OFF_CENTRE, face(x=x), GOOD, WIDE, LIMITS) is hint


def test_hint_for_other_reasons_is_none() -> None:
    assert hint_for(FrameReason.TOO_SMALL, face(x=60), GOOD, WIDE, LIMITS) is None
    assert hint_for(FrameReason.OFF_CENTRE, None, None, WIDE, LIMITS) is None


@pytest.mark.parametrize(
    ("nose_y_px", "quality", "hint"),
    [
        (395.0, replace(GOOD, head_pose_pitch=29), Guidance.RAISE_HEAD),
        (335.0, replace(GOOD, head_pose_pitch=29), Guidance.LOWER_HEAD),
        (395.0, replace(GOOD, head_pose_yaw=49, head_pose_pitch=29), None),
        (395.0, replace(GOOD, head_pose_roll=49), None),
    ],
    ids=["nose at the mouth", "nose at the eyes", "turned to a side, too", "level"],
)
def test_hint_for_a_raised_or_lowered_head(nose_y_px: float, quality: Quality, hint: Guidance | None) -> None:
    marks = Landmarks(
        *(Point(*at) for at in ((600, 320), (680, 320), (640, nose_y_px), (610, 400), (670, 400)))
    )
    found = replace(face(), landmarks=marks)
    assert hint_for(FrameReason.TURNED, found, quality, WIDE, LIMITS) is hint


def test_every_measure_has_a_limit() -> None:
    measured = {field.name for field in fields(Quality)} - {"score", "face_luma", "background_luma"}
    assert set(MEASURES) == measured


def test_limits_are_the_config_section_field_by_field() -> None:
    section = PolicyConfig()
    assert PolicyLimits(**section.model_dump()) == LIMITS
    assert {field.name for field in fields(PolicyLimits)} == set(PolicyConfig.model_fields)


# --- rules for every input ------------------------------------------------------------------------

numbers = st.floats(-3000, 3000) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0])
points = st.builds(Point, numbers, numbers)
odd_faces = st.builds(
    Detection,
    st.builds(Box, numbers, numbers, numbers, numbers),
    st.builds(Landmarks, points, points, points, points, points),
    numbers,
)
usual_faces = st.builds(
    face, st.floats(-100, 1400), st.floats(-100, 800), st.floats(20, 400), st.floats(20, 500), st.floats(0, 1)
)
measures = st.floats(0, 100) | st.sampled_from([math.nan, math.inf, -math.inf])
qualities = st.builds(Quality, *[measures] * 13)
crowds = st.lists(usual_faces | odd_faces, max_size=5)


@given(crowds, st.randoms(use_true_random=False))
def test_choose_face_does_not_depend_on_the_order(crowd: list[Detection], dice: object) -> None:
    shuffled = sorted(crowd, key=lambda _: dice.random())  # type: ignore[attr-defined]  # hypothesis' Random
    first = choose_face(crowd, WIDE, HIGH, LIMITS)
    second = choose_face(shuffled, WIDE, HIGH, LIMITS)
    assert first == second


@given(crowds)
def test_choose_face_returns_every_sane_face(crowd: list[Detection]) -> None:
    """Payer and others are all sane detections together, so a crop blanks every other face."""
    choice = choose_face(crowd, WIDE, HIGH, LIMITS)
    kept = [*choice.others, *([choice.face] if choice.face else [])]
    assert len(kept) == sum(is_well_formed(one) for one in crowd)
    assert (choice.reason is None) <= (choice.face is not None)


@given(crowds)
def test_payer_is_in_the_zone_and_dominates(crowd: list[Detection]) -> None:
    choice = choose_face(crowd, WIDE, HIGH, LIMITS)
    if choice.reason is not None or choice.face is None:
        return
    centre = choice.face.box.centre
    assert LIMITS.zone_left * WIDE <= centre.x_px <= LIMITS.zone_right * WIDE
    for other in choice.others:
        at = other.box.centre
        in_zone = LIMITS.zone_left * WIDE <= at.x_px <= LIMITS.zone_right * WIDE and 0 <= at.y_px <= HIGH
        if in_zone and min(other.box.width_px, other.box.height_px) >= LIMITS.min_face_px:
            assert choice.face.box.area_px >= LIMITS.dominance * other.box.area_px


@given(usual_faces | odd_faces, qualities)
def test_a_shot_has_only_finite_numbers_and_meets_every_limit(found: Detection, quality: Quality) -> None:
    if face_reason(found, quality, WIDE, HIGH, LIMITS) is not FrameReason.SHOT:
        return
    box = found.box
    every = (box.x_px, box.y_px, box.width_px, box.height_px, found.confidence, *coordinates(found.landmarks))
    assert all(map(math.isfinite, every))
    assert min(box.width_px, box.height_px) >= LIMITS.min_face_px
    for measure in MEASURES:
        assert getattr(quality, measure) >= getattr(LIMITS, f"min_{measure}")


@given(usual_faces, qualities, st.sampled_from(MEASURES), st.floats(0, 100))
def test_face_reason_is_never_shot_after_a_lower_measure(
    found: Detection, quality: Quality, name: str, lower: float
) -> None:
    before = face_reason(found, quality, WIDE, HIGH, LIMITS)
    worse = replace(quality, **{name: min(lower, getattr(quality, name))})
    if before is not FrameReason.SHOT and is_finite(quality):
        assert face_reason(found, worse, WIDE, HIGH, LIMITS) is not FrameReason.SHOT


def is_finite(quality: Quality) -> bool:
    return all(math.isfinite(getattr(quality, field.name)) for field in fields(quality))


# --- light, for a camera that exposes for the face -----------------------------------------------


def analysis_of(quality: Quality | None) -> Analysis:
    return Analysis(1, 1_000, FrameReason.SHOT, quality=quality)


def test_light_of_a_well_lit_face_needs_no_correction() -> None:
    quality = replace(Quality(*[100.0] * 11), face_luma=40.0)
    assert face_light(analysis_of(quality)) == FaceLight(1_000, luma=102.0, over=0.0)


def test_light_of_a_dark_and_a_bright_face() -> None:
    dark = face_light(analysis_of(replace(Quality(*[100.0] * 11), face_luma=8.0)))
    glare = face_light(
        analysis_of(replace(Quality(*[100.0] * 11), over_exposure_prevention=0.0, face_luma=99.0))
    )
    assert dark is not None and glare is not None
    assert (dark.over, round(dark.luma)) == (0.0, 20)
    assert (glare.over, round(glare.luma)) == (1.0, 252)


def test_light_without_a_face_or_with_nan_is_none() -> None:
    assert face_light(analysis_of(None)) is None
    assert face_light(analysis_of(replace(Quality(*[100.0] * 11), face_luma=math.nan))) is None


@given(st.floats(0, 100), st.floats(-1e3, 1e3))
def test_light_stays_within_its_scale(over: float, luma: float) -> None:
    quality = replace(Quality(*[100.0] * 11), over_exposure_prevention=over, face_luma=luma)
    light = face_light(analysis_of(quality))
    assert light is not None
    assert 0.0 <= light.over <= 1.0 and 0.0 <= light.luma <= 255.0


# --- judgement of a frame ------------------------------------------------------------------------


@given(crowds, qualities)
def test_judge_measures_the_payer_only_and_agrees_with_choice_and_reason(
    crowd: list[Detection], quality: Quality
) -> None:
    measured: list[Detection] = []

    def measure(face: Detection) -> Quality:
        measured.append(face)
        return quality

    judgement = judge(crowd, WIDE, HIGH, LIMITS, measure)
    choice = choose_face(crowd, WIDE, HIGH, LIMITS)
    assert (judgement.face, judgement.others) == (choice.face, choice.others)
    if choice.reason is not None:
        assert (judgement.reason, judgement.quality, measured) == (choice.reason, None, [])
    elif choice.face is not None:
        assert measured == [choice.face] and judgement.quality is quality
        assert judgement.reason is face_reason(choice.face, quality, WIDE, HIGH, LIMITS)
    assert judgement.hint is hint_for(judgement.reason, choice.face, judgement.quality, WIDE, LIMITS)
