"""Stillness: a print with sensor noise is still, a head that sways is not."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from agent.core.model import Box
from agent.vision.stillness import STILL_MS, Stillness
from tests.vision.people import Pixels, detector
from tests.vision.surfaces import Pose, flat, noisy, printed

PERIOD_MS = 300


def frames(name: str, sigma: float, light: float = 1.0, sway_mm: float = 0.0) -> list[Pixels]:
    dice, count = Random(1), STILL_MS // PERIOD_MS + 2
    sways = [sway_mm * np.sin(2 * np.pi * number / count) for number in range(count)]
    return [
        noisy(np.asarray(flat(printed(name), Pose(x_mm=sway)) * light, np.uint8), dice, sigma)
        for sway in sways
    ]


def seen(pictures: list[Pixels], period_ms: int = PERIOD_MS) -> list[bool]:
    stillness, box = Stillness(), detector().detect(pictures[0])[0].box
    return [stillness.is_still(picture, box, number * period_ms) for number, picture in enumerate(pictures)]


@pytest.mark.parametrize("sigma", [2.0, 5.0, 8.0])
@pytest.mark.parametrize("light", [1.0, 0.5])
def test_print_with_sensor_noise_is_still_after_three_seconds(sigma: float, light: float) -> None:
    found = seen(frames("obama_portrait", sigma, light))
    assert found[-1] and not any(found[: STILL_MS // PERIOD_MS])


def test_lamp_that_changes_its_light_is_no_movement() -> None:
    pictures = [
        np.asarray(picture * (0.7 + 0.02 * n), np.uint8)
        for n, picture in enumerate(frames("obama_portrait", 2))
    ]
    assert seen(pictures)[-1]


def test_head_that_sways_by_two_millimetres_is_not_still() -> None:
    assert not any(seen(frames("obama_portrait", 2.0, sway_mm=2.0)))


def test_few_frames_do_not_show_stillness() -> None:
    assert not any(seen(frames("obama_portrait", 2.0)[:4], period_ms=1_500))


def test_face_at_another_place_and_the_next_verification_start_again() -> None:
    stillness, pictures = Stillness(), frames("obama_portrait", 2.0)
    box = detector().detect(pictures[0])[0].box
    for number, picture in enumerate(pictures):
        still = stillness.is_still(picture, box, number * PERIOD_MS)
    assert still
    elsewhere = Box(box.x_px + 2 * box.width_px, box.y_px, box.width_px, box.height_px)
    assert not stillness.is_still(pictures[0], elsewhere, 10_000)
    stillness.begin()
    assert not stillness.is_still(pictures[0], box, 20_000)


@pytest.mark.parametrize("box", [Box(0, 0, 5, 5), Box(-50, -50, 20, 20), Box(5_000, 5_000, 90, 90)])
def test_face_without_enough_pixels_is_not_still(box: Box) -> None:
    stillness, picture = Stillness(), np.full((360, 640, 3), 90, np.uint8)
    assert not any(stillness.is_still(picture, box, at_ms) for at_ms in range(0, 6_000, 300))
