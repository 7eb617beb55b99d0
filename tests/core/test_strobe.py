"""Strobed cameras: only dark frames between lit frames are left out, and a dark camera stays dark."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.core.strobe import is_unlit

LUMAS = st.lists(st.floats(0.0, 255.0), max_size=60)
STROBED = st.lists(st.tuples(st.floats(80.0, 255.0), st.floats(0.0, 39.0)), min_size=4, max_size=40)


def delivered(lumas: list[float]) -> list[float]:
    """The frames that are not left out."""
    return [luma for at, luma in enumerate(lumas) if not is_unlit(lumas[: at + 1])]


@given(LUMAS)
def test_is_unlit_any_frames_leaves_out_single_frames_darker_than_the_frame_before(
    lumas: list[float],
) -> None:
    unlit = [is_unlit(lumas[: at + 1]) for at in range(len(lumas))]
    assert not any(before and after for before, after in pairwise(unlit))
    for at, is_left_out in enumerate(unlit):
        assert not is_left_out or lumas[at] < lumas[at - 1] / 2


@given(STROBED, st.booleans())
def test_is_unlit_strobed_camera_delivers_the_lit_frames_only(
    pairs: list[tuple[float, float]], starts_dark: bool
) -> None:
    lumas = [luma for pair in pairs for luma in pair][int(starts_dark) :]
    seen = delivered(lumas)
    assert [luma for luma in seen if luma >= 80.0] == [luma for luma in lumas if luma >= 80.0]
    assert sum(luma < 80.0 for luma in seen) <= 2  # until the pattern is known


@given(STROBED, st.lists(st.floats(0.0, 12.0), min_size=1, max_size=20))
def test_is_unlit_strobed_camera_becomes_dark_delivers_the_dark_frames(
    pairs: list[tuple[float, float]], dark: list[float]
) -> None:
    lumas = [luma for pair in pairs for luma in pair]  # ends with a dark frame
    at = len(delivered(lumas))
    assert delivered(lumas + dark)[at:] == dark


@given(st.lists(st.floats(0.0, 12.0), max_size=40))
def test_is_unlit_dark_camera_delivers_every_frame(lumas: list[float]) -> None:
    assert delivered(lumas) == lumas


@given(st.integers(1, 20), st.integers(1, 20), st.floats(0.0, 255.0), st.floats(0.0, 255.0))
def test_is_unlit_light_changes_once_delivers_every_frame(
    before: int, after: int, luma: float, other: float
) -> None:
    lumas = [luma] * before + [other] * after
    assert delivered(lumas) == lumas


@given(st.lists(st.floats(60.0, 120.0), max_size=40))
def test_is_unlit_flickering_lamp_within_a_factor_of_two_delivers_every_frame(lumas: list[float]) -> None:
    assert delivered(lumas) == lumas
