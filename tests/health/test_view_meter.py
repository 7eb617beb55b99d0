"""Which verifications in a row show a fault of the camera's view."""

from __future__ import annotations

from collections import Counter

import pytest

from agent.core.reasons import FrameReason, Reason
from agent.health.condition import FORGET_MS, Condition
from agent.health.conditions_camera import (
    CAMERA_BLURRED,
    CAMERA_FACES_UNUSABLE,
    CAMERA_NO_FACE,
    CAMERA_TOO_FAR,
)
from agent.health.frame_meter import VERIFICATIONS_MIN, ViewMeter

OTHERS = [
    reason
    for reason in FrameReason
    if reason
    not in (
        FrameReason.IDLE,
        FrameReason.NO_PRESENCE,
        FrameReason.NO_FACE,
        FrameReason.TOO_SMALL,
        FrameReason.BLURRED,
        FrameReason.FOLLOWED,
        FrameReason.SHOT,
    )
]
EMPTY = Counter({FrameReason.NO_PRESENCE: 50})
USABLE = Counter({FrameReason.BLURRED: 30, FrameReason.SHOT: 1})


def added(
    meter: ViewMeter, frames: Counter[FrameReason], ended_by: Reason = Reason.TIMED_OUT
) -> Condition | None:
    meter.add(frames, ended_by, 0)
    return meter.fault(0)


@pytest.mark.parametrize(
    ("reason", "condition"),
    [
        (FrameReason.BLURRED, CAMERA_BLURRED),
        (FrameReason.TOO_SMALL, CAMERA_TOO_FAR),
        (FrameReason.NO_FACE, CAMERA_NO_FACE),
        # e.g. a poster with a face, a window behind the payer, a camera beside the payer
        *((reason, CAMERA_FACES_UNUSABLE) for reason in OTHERS),
    ],
)
def test_add_same_reason_in_a_row_is_a_fault(reason: FrameReason, condition: object) -> None:
    meter = ViewMeter()
    seen = [added(meter, Counter({reason: 20, FrameReason.OFF_CENTRE: 5})) for _ in range(VERIFICATIONS_MIN)]
    assert seen == [*[None] * (VERIFICATIONS_MIN - 1), condition]
    assert not meter.detail or str(meter.detail).startswith(f"{reason}: ")
    assert bool(meter.detail) is (condition is CAMERA_FACES_UNUSABLE)


@pytest.mark.parametrize("usable", [FrameReason.SHOT, FrameReason.FOLLOWED])
def test_add_usable_frames_in_a_row_are_no_fault(usable: FrameReason) -> None:
    meter = ViewMeter()
    assert not any(added(meter, Counter({usable: 20})) for _ in range(VERIFICATIONS_MIN))
    assert not meter.detail


def test_add_usable_frame_clears_the_fault_and_an_empty_scene_keeps_it() -> None:
    meter, blurred = ViewMeter(), Counter({FrameReason.BLURRED: 20})
    for _ in range(VERIFICATIONS_MIN):
        added(meter, blurred)
    assert added(meter, EMPTY) is CAMERA_BLURRED
    assert added(meter, USABLE) is None
    assert added(meter, blurred) is None, "the count starts again"


def test_add_other_reason_starts_a_new_count() -> None:
    meter = ViewMeter()
    for _ in range(VERIFICATIONS_MIN - 1):
        added(meter, Counter({FrameReason.BLURRED: 20}))
    assert added(meter, Counter({FrameReason.TOO_SMALL: 20})) is None


def test_add_without_frames_is_no_fault() -> None:
    assert added(ViewMeter(), Counter()) is None


@pytest.mark.parametrize("ended_by", [Reason.CANCELLED, Reason.REFERENCE_UNREACHABLE, Reason.COST_LIMIT])
def test_add_verification_that_another_reason_ended_is_no_fault_of_the_view(ended_by: Reason) -> None:
    """A few frames of a payer who looks at the till show nothing about the view."""
    meter, turned = ViewMeter(), Counter({FrameReason.TURNED: 2})
    assert not any(added(meter, turned, ended_by) for _ in range(VERIFICATIONS_MIN))
    for _ in range(VERIFICATIONS_MIN):
        added(meter, turned)
    assert added(meter, USABLE, ended_by) is None, "a usable frame shows that the view is good"


def test_fault_of_the_view_is_forgotten_after_an_hour() -> None:
    """One payer with a mask in the evening tries three times, and the next one comes in the morning."""
    meter = ViewMeter()
    for _ in range(VERIFICATIONS_MIN):
        added(meter, Counter({FrameReason.COVERED: 20}))
    assert meter.fault(FORGET_MS - 1) is CAMERA_FACES_UNUSABLE
    assert meter.fault(FORGET_MS) is None
