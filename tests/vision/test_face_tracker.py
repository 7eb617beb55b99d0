"""A track number stays while the face moves little and no frame is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.model import Box
from agent.vision.face_tracker import FaceTracker

HERE = Box(500, 200, 150, 200)


def tracker_at(period_ms: int, *, until_ms: int = 10_000) -> FaceTracker:
    """A tracker with a face in every frame up to ``until_ms``."""
    tracker = FaceTracker()
    for at_ms in range(until_ms - 10 * period_ms, until_ms + 1, period_ms):
        tracker.note_frame(at_ms)
        tracker.extend_track(HERE, at_ms)
    return tracker


@pytest.mark.parametrize(
    ("box", "same"),
    [
        pytest.param(HERE, True, id="stands still"),
        pytest.param(Box(590, 220, 150, 200), True, id="a step aside"),
        pytest.param(Box(650, 200, 150, 200), False, id="jumped"),
        pytest.param(Box(500, 200, 100, 130), False, id="shrank at once"),
        pytest.param(Box(460, 150, 230, 310), False, id="grew at once"),
    ],
)
def test_continues_follows_place_and_size(box: Box, same: bool) -> None:
    assert tracker_at(100).continues(box, 10_100) is same


@pytest.mark.parametrize(
    ("period_ms", "max_gap_ms"), [(33, 150), (100, 170), (150, 255), (200, 300), (500, 300), (1_000, 300)]
)
def test_max_gap_follows_the_measured_frame_period_within_bounds(period_ms: int, max_gap_ms: int) -> None:
    tracker = tracker_at(period_ms)
    assert tracker.max_gap_ms == max_gap_ms
    assert tracker.continues(HERE, 10_000 + max_gap_ms)
    assert not tracker.continues(HERE, 10_000 + max_gap_ms + 1)


def test_one_pause_keeps_the_measured_frame_period() -> None:
    tracker = tracker_at(100)
    tracker.note_frame(12_000)
    assert tracker.max_gap_ms == 170


def test_a_time_before_the_last_frame_breaks_the_track() -> None:
    assert not tracker_at(100).continues(HERE, 9_999)


def test_begin_ends_the_track_and_keeps_the_frame_period() -> None:
    tracker = tracker_at(200)
    tracker.begin()
    assert tracker.number is None
    assert not tracker.continues(HERE, 10_050)
    assert tracker.max_gap_ms == 300
    tracker.note_frame(900_000)  # the time between two verifications is no frame period
    assert tracker.max_gap_ms == 300


@given(st.lists(st.tuples(st.floats(0, 1200), st.floats(50, 400), st.booleans()), max_size=30))
def test_track_numbers_are_never_reused(steps: list[tuple[float, float, bool]]) -> None:
    tracker, numbers = FaceTracker(), [0]
    for at_ms, (x, size, begins) in enumerate(steps):
        if begins:
            tracker.begin()
        box = Box(x, 100, size, size)
        keeps = tracker.continues(box, at_ms)
        numbers.append(tracker.extend_track(box, at_ms) if keeps else tracker.start_track(box, at_ms))
        assert keeps or numbers[-1] > numbers[-2]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(("gap_ms", "continues"), [(-1, False), (0, True), (150, True), (151, False)])
def test_track_continues_up_to_the_longest_gap(gap_ms: int, continues: bool) -> None:
    tracker, box = FaceTracker(), Box(100, 100, 80, 100)
    tracker.start_track(box, 1_000)
    assert tracker.max_gap_ms == 150
    assert tracker.continues(box, 1_000 + gap_ms) is continues


@pytest.mark.parametrize(
    ("box", "continues"),
    [
        (Box(148, 100, 80, 80), True),  # moved by 0.6 of the height
        (Box(149, 100, 80, 80), False),
        (Box(100, 80, 80, 120), True),  # 1.5 times as high
        (Box(100, 79, 80, 122), False),
    ],
)
def test_track_continues_up_to_the_largest_change(box: Box, continues: bool) -> None:
    tracker = FaceTracker()
    tracker.start_track(Box(100, 100, 80, 80), 0)
    assert tracker.continues(box, 10) is continues


def test_time_between_two_verifications_is_no_frame_period() -> None:
    """Otherwise short verifications would raise the longest gap, in which another face can appear."""
    tracker = FaceTracker()
    for begin_ms in range(0, 600_000, 60_000):
        tracker.begin()
        tracker.note_frame(begin_ms)
    assert tracker.max_gap_ms == 150
