"""Exposure control for the face: a table, properties, and a simulated sensor for the control loop."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.camera.picamera.controls import FaceExposure
from agent.core.model import FaceLight

STEP_MS = 1_000  # longer than the effect of a step takes
lumas = st.floats(0, 255)
shares = st.floats(0, 1)


def light(luma: float, *, at_ms: int = 0, over: float = 0.0) -> FaceLight:
    return FaceLight(at_ms, luma, over)


@pytest.mark.parametrize(
    ("measured", "value"),
    [
        pytest.param(light(120), 0.0, id="well exposed"),
        pytest.param(light(105), 0.0, id="a little dark is good enough"),
        pytest.param(light(138), 0.0, id="a little bright is good enough"),
        pytest.param(light(95), 0.44, id="somewhat dark: a part of the difference"),
        pytest.param(light(30), 0.5, id="dark: at most half a stop at once"),
        pytest.param(light(250), -0.5, id="bright"),
        pytest.param(light(30, over=0.9), 0.0, id="dark and overexposed: no more light"),
        pytest.param(light(250, over=0.9), -0.5, id="bright and overexposed"),
        pytest.param(light(0), 0.5, id="black"),
        pytest.param(light(math.nan), 0.0, id="no number"),
        pytest.param(light(math.inf), 0.0, id="no finite number"),
        pytest.param(light(30, over=math.nan), 0.0, id="half a number"),
        pytest.param(None, 0.0, id="no face"),
    ],
)
def test_update_first_measurement_sets_value(measured: FaceLight | None, value: float) -> None:
    assert FaceExposure().update(measured) == pytest.approx(value, abs=0.01)


def test_update_waits_for_the_effect_of_a_step() -> None:
    loop = FaceExposure()
    assert [loop.update(light(30, at_ms=at_ms)) for at_ms in (0, 100, 499, 500, 900, 1_000)] == [
        *(0.5, 0.5, 0.5),
        *(1.0, 1.0),
        1.5,
    ]


def test_update_after_a_first_step_continues_to_the_inner_limit() -> None:
    loop = FaceExposure()
    assert loop.update(light(106, at_ms=0)) == 0.0
    first = loop.update(light(90, at_ms=1_000))
    second = loop.update(light(106, at_ms=2_000))
    assert 0 < first < second
    assert loop.update(light(118, at_ms=3_000)) == second
    assert loop.update(light(106, at_ms=4_000)) == second


def test_update_none_resets_for_the_next_payer() -> None:
    loop = FaceExposure()
    loop.update(light(30))
    assert loop.update(None) == 0.0
    assert loop.update(light(250, at_ms=1)) == -0.5, "no pause from an earlier payer's step"


def test_update_stays_in_the_cameras_range() -> None:
    loop = FaceExposure(-0.25, 0.3)
    assert [loop.update(light(20, at_ms=n * STEP_MS)) for n in range(3)] == [0.3] * 3
    assert [loop.update(light(255, at_ms=n * STEP_MS)) for n in range(3, 6)] == [-0.2, -0.25, -0.25]


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.tuples(st.floats(allow_nan=True, allow_infinity=True), st.floats(), st.integers(0, 10**6)),
        )
    ),
    st.floats(-8, 8),
    st.floats(-8, 8),
)
def test_update_any_input_stays_within_bounds(
    inputs: list[tuple[float, float, int] | None], lowest: float, highest: float
) -> None:
    loop = FaceExposure(lowest, highest)
    for each in inputs:
        measured = None if each is None else FaceLight(each[2], each[0], each[1])
        value = loop.update(measured)
        assert value == loop.value
        assert max(-2.0, min(0.0, lowest)) <= value <= min(2.0, max(0.0, highest))
        assert measured is not None or value == 0.0


@given(st.lists(lumas, max_size=6), lumas, lumas, shares)
def test_a_brighter_face_never_gets_more_light(
    history: list[float], one: float, other: float, over: float
) -> None:
    darker, brighter = sorted((one, other))
    values = [
        after(history, light(luma, at_ms=len(history) * STEP_MS, over=over)) for luma in (darker, brighter)
    ]
    assert values[0] >= values[1]


@given(st.lists(lumas, max_size=6), lumas, shares, shares)
def test_update_more_overexposed_face_never_gets_more_light(
    history: list[float], luma: float, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    values = [after(history, light(luma, at_ms=len(history) * STEP_MS, over=over)) for over in (less, more)]
    assert values[0] >= values[1]


def after(history: list[float], last: FaceLight) -> float:
    loop = FaceExposure()
    for n, luma in enumerate(history):
        loop.update(light(luma, at_ms=n * STEP_MS))
    return loop.update(last)


@given(
    scene=st.floats(-1.9, 1.9),
    gamma=st.floats(1.8, 2.6),
    late=st.integers(0, 4),
    noise=st.floats(0, 3),
)
def test_control_loop_settles_without_oscillation(
    scene: float, gamma: float, late: int, noise: float
) -> None:
    """A face ``scene`` stops from well exposed; the camera applies a step ``late`` frames later."""
    loop, values = FaceExposure(), [0.0]
    for n in range(80):
        stops = scene + values[max(0, len(values) - 1 - late)]
        luma = 120 * 2 ** (stops / gamma) + noise * (-1) ** n
        values.append(loop.update(light(min(255.0, max(0.0, luma)), at_ms=n * 100)))
    assert len(set(values[60:])) == 1, "it oscillates"
    left = scene + values[-1]
    assert abs(left) <= 0.75, f"{left:+.2f} stops left"
    turns = [b - a for a, b in pairwise(values) if b != a]
    assert all(turn * turns[0] > 0 for turn in turns), "it overshot"
