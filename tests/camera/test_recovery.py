"""The ladder as a table: what is seen of a capture, what is done next, until when that is bounded."""

from __future__ import annotations

import pytest

from agent.camera.recovery import (
    CLOSE_MS,
    OPEN_MS,
    POLL_MS,
    STALLS_MAX,
    STEP_MS,
    FrameTiming,
    RecoveryRules,
    RecoveryState,
    RecoveryStep,
    bounded_until_ms,
    exit_due_ms,
    next_step,
)

RULES = RecoveryRules(stall_ms=2_000, remedies=2)
GRABBING = FrameTiming(RecoveryStep.GRABBING, since_ms=1_000, frame_ms=10_000)
REOPEN = 2


def rungs(sight: FrameTiming, *moments_ms: int) -> list[int | None]:
    """What is done when one looks at these moments and nothing changes."""
    ladder, taken = RecoveryState(), []
    for now_ms in moments_ms:
        ladder, rung = next_step(ladder, sight, RULES, now_ms)
        taken.append(rung)
    return taken


def test_nothing_is_done_to_a_stream_that_runs() -> None:
    assert rungs(GRABBING, 10_100, 11_000, 11_999) == [None, None, None]


def test_a_stalled_stream_gets_each_remedy_in_turn_then_is_opened_again() -> None:
    assert rungs(GRABBING, 12_000, 12_500, 13_000, 13_500, 14_000, 14_500) == [0, None, 1, None, REOPEN, None]


def test_a_stream_that_was_just_opened_has_the_same_time_for_its_first_frame() -> None:
    opened = FrameTiming(RecoveryStep.GRABBING, since_ms=20_000, frame_ms=10_000)
    assert rungs(opened, 21_999, 22_000) == [None, 0]


def test_a_frame_ends_the_climb_and_the_next_stall_starts_at_the_bottom() -> None:
    ladder, _ = next_step(RecoveryState(), GRABBING, RULES, 12_000)
    came = FrameTiming(RecoveryStep.GRABBING, since_ms=1_000, frame_ms=12_300)
    ladder, rung = next_step(ladder, came, RULES, 12_400)
    assert (ladder, rung) == (RecoveryState(), None)
    assert next_step(ladder, came, RULES, 14_300)[1] == 0


@pytest.mark.parametrize(
    ("sight", "moments_ms", "why"),
    [
        pytest.param(
            FrameTiming(RecoveryStep.OPENING, 1_000), [1_000 + OPEN_MS], "open does not return", id="open"
        ),
        pytest.param(
            FrameTiming(RecoveryStep.CLOSING, 1_000), [1_000 + CLOSE_MS], "close does not return", id="close"
        ),
        pytest.param(
            GRABBING,
            [12_000, 13_000, 14_000, 14_000 + CLOSE_MS],
            "grab does not return",
            id="grab, after the close that should end it",
        ),
        pytest.param(
            FrameTiming(RecoveryStep.RESTING, 1_000, stalls=STALLS_MAX),
            [1_000],
            "it stalled 3 times in a row",
            id="stalls",
        ),
        pytest.param(
            FrameTiming(RecoveryStep.GRABBING, 1_000, left=4),
            [1_000],
            "4 threads were left behind",
            id="threads",
        ),
    ],
)
def test_what_only_a_new_process_mends(sight: FrameTiming, moments_ms: list[int], why: str) -> None:
    ladder = RecoveryState()
    for now_ms in moments_ms:
        assert not ladder.hopeless
        ladder, _ = next_step(ladder, sight, RULES, now_ms)
    assert ladder.hopeless.startswith(why)
    assert bounded_until_ms(ladder, sight, RULES) == 0


@pytest.mark.parametrize("more", [{"stalls": STALLS_MAX}, {"left": 4}])
def test_whatever_was_before_a_camera_whose_frames_flow_is_left_alone(more: dict[str, int]) -> None:
    flows = FrameTiming(RecoveryStep.GRABBING, since_ms=1_000, frame_ms=10_000, **more)
    assert next_step(RecoveryState(), flows, RULES, 11_999) == (RecoveryState(), None)
    assert next_step(RecoveryState(), flows, RULES, 12_000)[0].hopeless


def test_a_driver_that_comes_back_after_all_is_not_given_up() -> None:
    hung, _ = next_step(RecoveryState(), FrameTiming(RecoveryStep.OPENING, 1_000), RULES, 1_000 + OPEN_MS)
    assert hung.hopeless
    assert next_step(hung, FrameTiming(RecoveryStep.GRABBING, 30_000), RULES, 30_100)[0] == RecoveryState()


def test_a_camera_that_stalls_for_ever_is_still_tried_while_the_process_waits_for_its_end() -> None:
    again = FrameTiming(RecoveryStep.GRABBING, since_ms=20_000, stalls=STALLS_MAX)
    ladder, rung = next_step(RecoveryState(), again, RULES, 22_000)
    assert ladder.hopeless and rung == 0


@pytest.mark.parametrize(
    ("sight", "until_ms"),
    [
        (FrameTiming(RecoveryStep.OPENING, 1_000), 1_000 + OPEN_MS),
        (FrameTiming(RecoveryStep.CLOSING, 1_000), 1_000 + CLOSE_MS),
        (FrameTiming(RecoveryStep.RESTING, 1_000, rest_ms=5_000), 6_000),
        (FrameTiming(RecoveryStep.GRABBING, 1_000), 3_000),
        (FrameTiming(RecoveryStep.GRABBING, 1_000, frame_ms=4_000), 6_000),
    ],
)
def test_each_step_has_an_end(sight: FrameTiming, until_ms: int) -> None:
    assert bounded_until_ms(RecoveryState(), sight, RULES) == until_ms + POLL_MS


def test_the_rungs_of_a_stall_have_an_end_as_well() -> None:
    assert bounded_until_ms(RecoveryState(1, 12_000), GRABBING, RULES) == 12_000 + STEP_MS + POLL_MS
    assert bounded_until_ms(RecoveryState(3, 14_000), GRABBING, RULES) == 14_000 + CLOSE_MS + POLL_MS


def test_for_a_recording_that_is_over_nothing_is_under_way() -> None:
    assert bounded_until_ms(RecoveryState(), FrameTiming(RecoveryStep.ENDED, 1_000), RULES) == 0


def test_a_process_that_had_pictures_for_a_minute_may_end_at_once() -> None:
    assert exit_due_ms(started_ms=0, pictures_ms=60_000, now_ms=70_000) == 70_000


def test_a_camera_that_never_works_restarts_nothing_more_often_than_every_ten_minutes() -> None:
    for pictures_ms in (0, 59_999):
        assert exit_due_ms(started_ms=5_000, pictures_ms=pictures_ms, now_ms=70_000) == 605_000
