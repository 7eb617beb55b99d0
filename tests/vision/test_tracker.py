"""The same number as long as nothing says that it is somebody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.model import Box
from agent.vision.tracker import Tracker

HERE = Box(500, 200, 150, 200)


@pytest.mark.parametrize(
    ("box", "after_ms", "same"),
    [
        pytest.param(HERE, 100, True, id="stands still"),
        pytest.param(Box(590, 220, 150, 200), 100, True, id="a step aside"),
        pytest.param(HERE, 300, True, id="a blink of the detector"),
        pytest.param(HERE, 301, False, id="a gap in which anybody may come"),
        pytest.param(Box(650, 200, 150, 200), 100, False, id="jumped"),
        pytest.param(Box(500, 200, 100, 130), 100, False, id="shrank at once"),
        pytest.param(Box(460, 150, 230, 310), 100, False, id="grew at once"),
    ],
)
def test_continuity(box: Box, after_ms: int, same: bool) -> None:
    tracker = Tracker()
    first = tracker.update(HERE, 1_000)
    assert (tracker.update(box, 1_000 + after_ms) == first) is same


def test_a_new_verification_is_a_new_track() -> None:
    tracker = Tracker()
    first = tracker.update(HERE, 1_000)
    tracker.begin()
    assert tracker.update(HERE, 1_050) > first


@given(
    st.lists(
        st.tuples(st.floats(0, 1200), st.floats(50, 400), st.integers(1, 600), st.booleans()), max_size=30
    )
)
def test_numbers_never_come_back(steps: list[tuple[float, float, int, bool]]) -> None:
    tracker, at_ms, seen = Tracker(), 0, [0]
    for x, size, pause_ms, begins in steps:
        at_ms += pause_ms
        if begins:
            tracker.begin()
        seen.append(tracker.update(Box(x, 100, size, size), at_ms))
    assert seen == sorted(seen)
