"""The similarity scale: one measured point, an extrapolation above, monotonic."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.service.recogniser import similarity

cosines = st.floats(-1, 1)


@pytest.mark.parametrize(
    ("cosine", "expected"),
    [(-1, 0), (0, 0), (0.363, 70), (0.44, 80), (0.5, 90), (1, 100), (1.0000001, 100), (math.inf, 100)],
)
def test_knots_and_ends(cosine: float, expected: float) -> None:
    assert similarity(cosine) == expected


@given(cosines, cosines)
def test_similarity_is_monotonic_in_the_cosine(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 <= similarity(low) <= similarity(high) <= 100


def test_small_cosine_does_not_reach_the_compiled_floor() -> None:
    assert similarity(0.38) < 75 < similarity(0.41)


def test_nan_stays_nan() -> None:
    assert math.isnan(similarity(math.nan))
