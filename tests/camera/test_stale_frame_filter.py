"""Stale frames of a stream, from before a pause, are dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.camera.video import DROPPED_MAX, GAP_MS, StaleFrameFilter

FPS = 25.0
PERIOD_MS = 40.0


def live(stale_frames: StaleFrameFilter, *waits_ms: float) -> list[bool]:
    return [stale_frames.is_live(wait_ms) for wait_ms in waits_ms]


def up_to_date() -> StaleFrameFilter:
    stale_frames = StaleFrameFilter(FPS)
    assert live(stale_frames, PERIOD_MS, PERIOD_MS) == [True, True]
    return stale_frames


def test_is_live_burst_after_opening_is_dropped() -> None:
    assert live(StaleFrameFilter(FPS), 0, 3, 2, 38, 41, 39) == [False, False, False, True, True, True]


def test_is_live_burst_after_a_pause_is_dropped_with_its_first_frame() -> None:
    assert live(up_to_date(), 900, 1, 2, 0, 3, 37, 40) == [False] * 5 + [True, True]


def test_is_live_unsteady_waits_without_a_pause_drop_no_frame() -> None:
    """Without a pause an early frame is live."""
    assert all(live(up_to_date(), 70, 10, 40, 5, 75, 40))


def test_is_live_sender_without_a_steady_rate_is_used_after_150_frames() -> None:
    results = live(StaleFrameFilter(FPS), *[0.0] * (DROPPED_MAX + 3))
    assert results == [False] * DROPPED_MAX + [True] * 3


def test_is_live_impossible_reported_rate_counts_as_25() -> None:
    for reported_fps in (0.0, -1.0, 90_000.0, float("nan"), float("inf")):
        assert live(StaleFrameFilter(reported_fps), 0, 19, 20) == [False, False, True]


@given(st.lists(st.floats(0, PERIOD_MS / 2 - 0.1), max_size=DROPPED_MAX), st.floats(GAP_MS, 60_000))
def test_no_picture_of_a_burst_is_ever_used(burst_ms: list[float], pause_ms: float) -> None:
    assert not any(live(up_to_date(), pause_ms, *burst_ms))
