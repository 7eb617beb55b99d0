"""A stream's pictures of before a pause are nobody's who stands there now."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.camera.live_edge import GAP_MS, MOST_DROPPED, LiveEdge

FPS = 25.0
PERIOD_MS = 40.0


def live(edge: LiveEdge, *waits_ms: float) -> list[bool]:
    return [edge.is_live(wait_ms) for wait_ms in waits_ms]


def keeping_time() -> LiveEdge:
    edge = LiveEdge(FPS)
    assert live(edge, PERIOD_MS, PERIOD_MS) == [True, True]
    return edge


def test_what_a_sender_had_ready_when_we_came_is_dropped() -> None:
    assert live(LiveEdge(FPS), 0, 3, 2, 38, 41, 39) == [False, False, False, True, True, True]


def test_after_a_pause_the_burst_is_dropped_with_the_picture_that_ends_it() -> None:
    assert live(keeping_time(), 900, 1, 2, 0, 3, 37, 40) == [False] * 5 + [True, True]


def test_unsteady_waits_of_a_stream_in_time_cost_nothing() -> None:
    """Once in time, a picture that came early is still a picture of now."""
    assert all(live(keeping_time(), 70, 10, 40, 5, 75, 40))


def test_a_sender_that_never_keeps_time_is_believed_in_the_end() -> None:
    said = live(LiveEdge(FPS), *[0.0] * (MOST_DROPPED + 3))
    assert said == [False] * MOST_DROPPED + [True] * 3


def test_nonsense_about_its_own_rate_is_not_believed() -> None:
    for told in (0.0, -1.0, 90_000.0, float("nan"), float("inf")):
        assert live(LiveEdge(told), 0, 19, 20) == [False, False, True]


@given(st.lists(st.floats(0, PERIOD_MS / 2 - 0.1), max_size=MOST_DROPPED), st.floats(GAP_MS, 60_000))
def test_no_picture_of_a_burst_is_ever_used(burst_ms: list[float], pause_ms: float) -> None:
    assert not any(live(keeping_time(), pause_ms, *burst_ms))
