"""Scaling by halvings: mean values, reused buffers, and the same scale for horizontal and upright cameras."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.vision.scaler import Pixels, Scaler, Size, steps_of
from tests.vision.people import detector, standing

SIDES = st.integers(1, 4_096)


@given(SIDES, SIDES, st.floats(0.01, 1.0))
def test_the_steps_end_at_the_target_and_only_shrink(wide: int, high: int, scale: float) -> None:
    size, target = (wide, high), (max(1, round(wide * scale)), max(1, round(high * scale)))
    steps = steps_of(size, target)
    assert [size, *steps][-1] == target
    for before, after in zip([size, *steps], steps, strict=False):
        assert after[0] <= before[0] and after[1] <= before[1] and after != before


@pytest.mark.parametrize(
    ("size", "target", "steps"),
    [
        ((1280, 720), (320, 180), ((640, 360), (320, 180))),
        ((720, 1280), (180, 320), ((360, 640), (180, 320))),
        ((1920, 1080), (320, 180), ((960, 540), (480, 270), (320, 180))),
        ((480, 480), (96, 96), ((240, 240), (120, 120), (96, 96))),
        ((320, 180), (320, 180), ()),
        ((2560, 2560), (1280, 1280), ((1280, 1280),)),  # one halving, to more than the limit of a step
    ],
)
def test_the_steps_of_usual_frames(size: Size, target: Size, steps: tuple[Size, ...]) -> None:
    assert steps_of(size, target) == steps


def test_each_pixel_is_the_mean_of_its_area() -> None:
    picture = np.random.default_rng(3).integers(0, 255, (720, 1280, 3), np.uint8)
    whole = cv2.resize(picture, (320, 180), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(Scaler().scaled(picture, (320, 180)).astype(int) - whole).max() <= 1


def test_buffers_are_reused_and_wiped() -> None:
    scaler, picture = Scaler(), np.full((720, 1280, 3), 200, np.uint8)
    first = scaler.scaled(picture, (320, 180))
    assert scaler.scaled(picture, (320, 180)) is first
    buffers = list(scaler._buffers.values())
    scaler.wipe()
    assert not any(buffer.any() for buffer in buffers)
    scaler.scaled(picture[:96, :96], (96, 96))
    assert scaler._buffers == {}, "no picture of the earlier size is kept"


def test_an_upright_camera_gets_the_scale_of_a_horizontal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same scene from the same distance costs the same, and a far face has the same size in the input."""
    sizes = list[Size]()
    horizontal = standing("obama_portrait")
    upright = np.ascontiguousarray(horizontal[:, 280:1_000])
    upright = cv2.copyMakeBorder(upright, 280, 280, 0, 0, cv2.BORDER_REPLICATE).astype(np.uint8)
    found = detector()
    scaler = Scaler()

    def scaled(picture: Pixels, size: Size) -> Pixels:
        sizes.append(size)
        return scaler.scaled(picture, size)

    monkeypatch.setattr(found._scaler, "scaled", scaled)
    boxes = [found.detect(picture)[0].box for picture in (horizontal, upright)]
    assert sizes == [(320, 180), (180, 320)]
    assert boxes[1].height_px == pytest.approx(boxes[0].height_px, rel=0.1)
