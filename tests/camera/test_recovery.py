"""The recovery rules as tables: status of a capture, next step, time limit of the step."""

from __future__ import annotations

import pytest

from agent.camera.recovery import (
    CLOSE_MS,
    OPEN_MS,
    POLL_MS,
    STALLS_MAX,
    STEP_MS,
    CapturePhase,
    CaptureStatus,
    RecoveryRules,
    RecoveryState,
    bounded_until_ms,
    exit_due_ms,
    next_step,
)

RULES = RecoveryRules(stall_ms=2_000, remedies=2)
GRABBING = CaptureStatus(CapturePhase.GRABBING, since_ms=1_000, frame_ms=10_000)
REOPEN = 2


def steps(status: CaptureStatus, *times_ms: int) -> list[int | None]:
    """The steps at these times with an unchanged status."""
    state, taken = RecoveryState(), []
    for now_ms in times_ms:
        state, step = next_step(state, status, RULES, now_ms)
        taken.append(step)
    return taken


def test_next_step_running_stream_needs_no_step() -> None:
    assert steps(GRABBING, 10_100, 11_000, 11_999) == [None, None, None]


def test_next_step_stalled_stream_gets_each_remedy_and_is_opened_again() -> None:
    assert steps(GRABBING, 12_000, 12_500, 13_000, 13_500, 14_000, 14_500) == [0, None, 1, None, REOPEN, None]


def test_a_stream_that_was_just_opened_has_the_same_time_for_its_first_frame() -> None:
    opened = CaptureStatus(CapturePhase.GRABBING, since_ms=20_000, frame_ms=10_000)
    assert steps(opened, 21_999, 22_000) == [None, 0]


def test_next_step_after_a_frame_the_next_stall_starts_with_the_first_step() -> None:
    state, _ = next_step(RecoveryState(), GRABBING, RULES, 12_000)
    came = CaptureStatus(CapturePhase.GRABBING, since_ms=1_000, frame_ms=12_300)
    state, step = next_step(state, came, RULES, 12_400)
    assert (state, step) == (RecoveryState(), None)
    assert next_step(state, came, RULES, 14_300)[1] == 0


@pytest.mark.parametrize(
    ("status", "times_ms", "why"),
    [
        pytest.param(
            CaptureStatus(CapturePhase.OPENING, 1_000), [1_000 + OPEN_MS], "open does not return", id="open"
        ),
        pytest.param(
            CaptureStatus(CapturePhase.CLOSING, 1_000),
            [1_000 + CLOSE_MS],
            "close does not return",
            id="close",
        ),
        pytest.param(
            GRABBING,
            [12_000, 13_000, 14_000, 14_000 + CLOSE_MS],
            "grab does not return",
            id="grab, after the close that should end it",
        ),
        pytest.param(
            CaptureStatus(CapturePhase.PAUSED, 1_000, stalls=STALLS_MAX),
            [1_000],
            "it stalled 3 times in a row",
            id="stalls",
        ),
        pytest.param(
            CaptureStatus(CapturePhase.GRABBING, 1_000, abandoned=4),
            [1_000],
            "4 threads hang",
            id="threads",
        ),
    ],
)
def test_next_step_unrecoverable_camera_has_its_reason(
    status: CaptureStatus, times_ms: list[int], why: str
) -> None:
    state = RecoveryState()
    for now_ms in times_ms:
        assert not state.unrecoverable
        state, _ = next_step(state, status, RULES, now_ms)
    assert str(state.unrecoverable).startswith(why)
    assert bounded_until_ms(state, status, RULES) == 0


@pytest.mark.parametrize("more", [{"stalls": STALLS_MAX}, {"abandoned": 4}])
def test_next_step_camera_with_frames_needs_no_step_in_spite_of_earlier_stalls(more: dict[str, int]) -> None:
    flows = CaptureStatus(CapturePhase.GRABBING, since_ms=1_000, frame_ms=10_000, **more)
    assert next_step(RecoveryState(), flows, RULES, 11_999) == (RecoveryState(), None)
    assert next_step(RecoveryState(), flows, RULES, 12_000)[0].unrecoverable


def test_next_step_driver_that_returns_late_is_recoverable_again() -> None:
    hung, _ = next_step(RecoveryState(), CaptureStatus(CapturePhase.OPENING, 1_000), RULES, 1_000 + OPEN_MS)
    assert hung.unrecoverable
    assert next_step(hung, CaptureStatus(CapturePhase.GRABBING, 30_000), RULES, 30_100)[0] == RecoveryState()


def test_next_step_unrecoverable_camera_still_gets_steps() -> None:
    again = CaptureStatus(CapturePhase.GRABBING, since_ms=20_000, stalls=STALLS_MAX)
    state, step = next_step(RecoveryState(), again, RULES, 22_000)
    assert state.unrecoverable and step == 0


@pytest.mark.parametrize(
    ("status", "until_ms"),
    [
        (CaptureStatus(CapturePhase.OPENING, 1_000), 1_000 + OPEN_MS),
        (CaptureStatus(CapturePhase.CLOSING, 1_000), 1_000 + CLOSE_MS),
        (CaptureStatus(CapturePhase.PAUSED, 1_000, pause_ms=5_000), 6_000),
        (CaptureStatus(CapturePhase.GRABBING, 1_000), 3_000),
        (CaptureStatus(CapturePhase.GRABBING, 1_000, frame_ms=4_000), 6_000),
    ],
)
def test_bounded_until_each_phase_has_a_limit(status: CaptureStatus, until_ms: int) -> None:
    assert bounded_until_ms(RecoveryState(), status, RULES) == until_ms + POLL_MS


def test_bounded_until_each_step_has_a_limit() -> None:
    assert bounded_until_ms(RecoveryState(1, 12_000), GRABBING, RULES) == 12_000 + STEP_MS + POLL_MS
    assert bounded_until_ms(RecoveryState(3, 14_000), GRABBING, RULES) == 14_000 + CLOSE_MS + POLL_MS


def test_bounded_until_ended_recording_has_no_limit() -> None:
    assert bounded_until_ms(RecoveryState(), CaptureStatus(CapturePhase.ENDED, 1_000), RULES) == 0


def test_exit_due_after_a_minute_of_frames_is_now() -> None:
    assert exit_due_ms(started_ms=0, frames_ms=60_000, now_ms=70_000) == 70_000


def test_exit_due_without_frames_is_ten_minutes_after_the_start() -> None:
    for frames_ms in (0, 59_999):
        assert exit_due_ms(started_ms=5_000, frames_ms=frames_ms, now_ms=70_000) == 605_000
