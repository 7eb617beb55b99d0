"""Light measures on the real photos: each measure is monotonic."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.vision import light
from tests.vision.people import NAMES, Pixels, face_of


def under(gray: Pixels) -> float:
    return light.under_exposure_prevention(light.luma_levels(gray))


def over(gray: Pixels) -> float:
    return light.over_exposure_prevention(light.luma_levels(gray))


def contrast(gray: Pixels) -> float:
    return light.dynamic_range(light.luma_levels(gray))


def even_halves(gray: Pixels) -> Pixels:
    """A face whose right half mirrors the left half."""
    half = gray[:, : gray.shape[1] // 2]
    return np.ascontiguousarray(np.hstack([half, half[:, ::-1]]))


@given(st.sampled_from(NAMES), st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_darker_is_never_better_lit(name: str, one: float, two: float) -> None:
    gray = face_of(name)
    dark, bright = sorted((one, two))
    scores = [under(np.round(gray * gain).astype(np.uint8)) for gain in (dark, bright)]
    assert scores[0] <= scores[1]


@given(st.sampled_from(NAMES), st.floats(1, 4), st.floats(1, 4))
def test_brighter_is_never_less_clipped(name: str, one: float, two: float) -> None:
    gray = face_of(name)
    less, more = sorted((one, two))
    scores = [over(cv2.convertScaleAbs(gray, alpha=a).astype(np.uint8)) for a in (less, more)]
    assert scores[1] <= scores[0]


@given(st.sampled_from(NAMES), st.lists(st.integers(0, 255), min_size=256, max_size=256))
def test_pixel_by_pixel_changes_never_raise_the_contrast(name: str, table: list[int]) -> None:
    gray = face_of(name)
    changed = cv2.LUT(gray, np.array(table, np.uint8)).astype(np.uint8)
    assert contrast(changed) <= contrast(gray) + 1e-9


@given(st.sampled_from(NAMES), st.integers(1, 255), st.integers(1, 255))
def test_more_fog_never_raises_the_contrast(name: str, one: int, two: int) -> None:
    """Fog merges grey levels: levels that differ by less than ``step`` become one level."""
    gray, (fine, factor) = face_of(name), (one, two)
    some = gray // fine
    assert contrast(some // factor) <= contrast(some) + 1e-9


@given(st.sampled_from(NAMES), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_a_deeper_shadow_on_one_side_is_never_more_even(
    name: str, one: float, two: float, on_the_left: bool
) -> None:
    face = even_halves(face_of(name))
    half = face.shape[1] // 2
    dark, bright = sorted((one, two))
    scores = []
    for gain in (dark, bright):
        shaded = face.copy()
        side = shaded[:, :half] if on_the_left else shaded[:, half:]
        side[:] = np.floor(side * gain)
        scores.append(light.illumination_uniformity(shaded))
    assert scores[0] <= scores[1]
    assert light.illumination_uniformity(face) == pytest.approx(100)


@pytest.mark.parametrize(
    ("gray", "expected"),
    [
        pytest.param(np.zeros((20, 20), np.uint8), (0, 100, 0, 0), id="black"),
        pytest.param(np.full((20, 20), 120, np.uint8), (100, 100, 0, 100), id="mid grey"),
        pytest.param(np.full((20, 20), 255, np.uint8), (100, 0, 0, 100), id="white"),
        pytest.param(np.empty((0, 0), np.uint8), (0, 0, 0, 0), id="nothing"),
        pytest.param(
            np.arange(256, dtype=np.uint8).reshape(16, 16), (100, 94, 100, 94), id="every level once"
        ),
        pytest.param(np.full((9, 1), 120, np.uint8), (100, 100, 0, 0), id="one column"),
    ],
)
def test_scales(gray: Pixels, expected: tuple[float, float, float, float]) -> None:
    """Under-exposure, over-exposure, contrast, uniformity."""
    measured = (under(gray), over(gray), contrast(gray), light.illumination_uniformity(gray))
    assert measured == pytest.approx(expected, abs=0.6)


@pytest.mark.parametrize("name", NAMES)
def test_photos_are_well_lit(name: str) -> None:
    gray = face_of(name)
    for measure in (under(gray), over(gray), contrast(gray), light.illumination_uniformity(gray)):
        assert measure >= 80
