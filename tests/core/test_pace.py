"""The pace of a terminal: monotone, never above the config, never without a pace."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.pace import Pace, choose_pace, expected_ms

LOOKS = st.floats(0.1, 100_000)
WIDTHS = st.integers(96, 1_280)
RATES = st.floats(0.5, 60)


@given(st.floats(), WIDTHS, RATES)
def test_every_measurement_gives_a_pace_within_the_config(
    detection_ms: float, width_px: int, fps: float
) -> None:
    pace = choose_pace(detection_ms, width_px, fps)
    assert round(width_px / 2) <= pace.width_px <= width_px
    assert min(1.0, fps) <= pace.fps <= fps
    assert pace.is_reduced == ((pace.width_px, pace.fps) != (width_px, fps))


@given(LOOKS, LOOKS, WIDTHS, RATES)
def test_a_slower_machine_gets_no_larger_width_and_no_higher_rate(
    one_ms: float, other_ms: float, width_px: int, fps: float
) -> None:
    fast, slow = (choose_pace(detection_ms, width_px, fps) for detection_ms in sorted((one_ms, other_ms)))
    assert slow.width_px <= fast.width_px
    assert slow.fps <= fast.fps


@given(st.floats(0.1, 300), RATES)
def test_a_detection_takes_at_most_a_third_of_the_period(detection_ms: float, fps: float) -> None:
    pace = choose_pace(detection_ms, 320, fps)
    fits = expected_ms(detection_ms, pace.width_px / 320) <= pace.period_ms / 3 + 1e-6
    assert fits or pace.fps == min(fps, 1.0)


@pytest.mark.parametrize(
    ("detection_ms", "fps", "width_px", "rate"),
    [
        (5, 10, 320, 10),
        (5, 60, 320, 60),
        (9, 60, 320, 10),
        (41, 10, 256, 10),
        (60, 10, 192, 10),
        (120, 10, 192, 5),
        (150, 10, 160, 5),
        (250, 10, 160, 3),
        (9_000, 10, 160, 1),
        (9_000, 0.5, 160, 0.5),
    ],
)
def test_the_table_of_the_module(detection_ms: float, fps: float, width_px: int, rate: float) -> None:
    pace = choose_pace(detection_ms, 320, fps)
    assert (pace.width_px, pace.fps) == (width_px, rate)


@pytest.mark.parametrize("detection_ms", [math.nan, math.inf, 0.0, -1.0])
def test_an_unusable_measurement_changes_nothing(detection_ms: float) -> None:
    assert choose_pace(detection_ms, 320, 10) == Pace(320, 10)


def test_choose_pace_that_may_not_reduce_keeps_the_config_and_the_measurement() -> None:
    assert choose_pace(900.0, 320, 10, may_reduce=False) == Pace(320, 10, 900.0)
