"""Exposing for the face: a table, properties, and a simulated sensor it must settle on."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.camera.picamera.exposure import FaceExposure
from agent.core.model import FaceLight

STEP_MS = 1_000  # longer than a step takes to show
lumas = st.floats(0, 255)
shares = st.floats(0, 1)


def light(luma: float, *, at_ms: int = 0, over: float = 0.0) -> FaceLight:
    return FaceLight(at_ms, luma, 0.0, over)


@pytest.mark.parametrize(
    ("seen", "value"),
    [
        pytest.param(light(120), 0.0, id="well exposed"),
        pytest.param(light(105), 0.0, id="a little dark is good enough"),
        pytest.param(light(138), 0.0, id="a little bright, too"),
        pytest.param(light(95), 0.44, id="somewhat dark: part of the way"),
        pytest.param(light(30), 0.5, id="dark: never more than half a stop at once"),
        pytest.param(light(250), -0.5, id="bright"),
        pytest.param(light(30, over=0.9), 0.0, id="dark and burnt out: no more light"),
        pytest.param(light(250, over=0.9), -0.5, id="bright and burnt out"),
        pytest.param(light(0), 0.5, id="black"),
        pytest.param(light(math.nan), 0.0, id="no number"),
        pytest.param(light(math.inf), 0.0, id="no finite number"),
        pytest.param(light(30, over=math.nan), 0.0, id="half a number"),
        pytest.param(None, 0.0, id="nobody"),
    ],
)
def test_one_look(seen: FaceLight | None, value: float) -> None:
    assert FaceExposure().update(seen) == pytest.approx(value, abs=0.01)


def test_a_step_is_given_time_to_show() -> None:
    loop = FaceExposure()
    assert [loop.update(light(30, at_ms=at_ms)) for at_ms in (0, 100, 499, 500, 900, 1_000)] == [
        *(0.5, 0.5, 0.5),
        *(1.0, 1.0),
        1.5,
    ]


def test_once_it_acts_it_goes_on_until_it_is_close() -> None:
    loop = FaceExposure()
    assert loop.update(light(106, at_ms=0)) == 0.0
    acted = loop.update(light(90, at_ms=1_000))
    further = loop.update(light(106, at_ms=2_000))
    assert 0 < acted < further
    assert loop.update(light(118, at_ms=3_000)) == further
    assert loop.update(light(106, at_ms=4_000)) == further


def test_the_next_payer_starts_from_nothing() -> None:
    loop = FaceExposure()
    loop.update(light(30))
    assert loop.update(None) == 0.0
    assert loop.update(light(250, at_ms=1)) == -0.5, "and is not made to wait for the last one's step"


def test_a_camera_that_offers_less_gets_less() -> None:
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
def test_it_stays_within_bounds_whatever_it_hears(
    heard: list[tuple[float, float, int] | None], lowest: float, highest: float
) -> None:
    loop = FaceExposure(lowest, highest)
    for one in heard:
        seen = None if one is None else FaceLight(one[2], one[0], 0.0, one[1])
        value = loop.update(seen)
        assert value == loop.value
        assert max(-2.0, min(0.0, lowest)) <= value <= min(2.0, max(0.0, highest))
        assert seen is not None or value == 0.0


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
def test_a_face_more_burnt_out_never_gets_more_light(
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
def test_it_settles_on_a_sensor_and_then_leaves_it_alone(
    scene: float, gamma: float, late: int, noise: float
) -> None:
    """A face ``scene`` stops from well exposed; a camera that shows a step ``late`` frames later."""
    loop, values = FaceExposure(), [0.0]
    for n in range(80):
        stops = scene + values[max(0, len(values) - 1 - late)]
        luma = 120 * 2 ** (stops / gamma) + noise * (-1) ** n
        values.append(loop.update(light(min(255.0, max(0.0, luma)), at_ms=n * 100)))
    assert len(set(values[60:])) == 1, "it hunts"
    left = scene + values[-1]
    assert abs(left) <= 0.75, f"{left:+.2f} stops left"
    turns = [b - a for a, b in pairwise(values) if b != a]
    assert all(turn * turns[0] > 0 for turn in turns), "it overshot"
