"""Focus and light of one frame, and the advice for them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from agent.diagnostics.meters import PeakHold, light_advice, light_line, light_screen
from agent.live_view.lens_meter import STEPS, measure_lens
from tests.bench.frames import drawn
from tests.texts import en, zh


def picture(scene: str = "one_obama_podium") -> np.ndarray:
    return np.asarray(drawn(scene, count=3)[2], np.uint8)


def test_look_through_sharpness_decreases_with_each_blur() -> None:
    sharp = picture()
    numbers = [measure_lens(cv2.GaussianBlur(sharp, (0, 0), 0.1 + blur)).sharpness for blur in range(6)]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] > 2 * numbers[-1]


def test_shares_are_of_all_pixels() -> None:
    half = np.zeros((100, 100, 3), np.uint8)
    half[:, 50:] = 255
    reading = measure_lens(half)
    assert (reading.dark_share, reading.bright_share) == (0.5, 0.5)
    assert reading.mean_luma == pytest.approx(127.5)
    assert len(reading.levels) == STEPS and reading.levels[0] == reading.levels[-1] == 0.5


@pytest.mark.parametrize(
    "pixels", [None, np.zeros((4, 4, 3), np.uint8), np.zeros((50, 50)), np.zeros((50, 50, 1), np.uint8)]
)
def test_look_through_no_picture_counts_as_black(pixels: object) -> None:
    reading = measure_lens(pixels)
    assert (reading.sharpness, reading.mean_luma, reading.dark_share) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("gain", "offset", "start"),
    [
        (0.0, 0, "Black"),
        (0.3, 0, "Dark"),
        (1.0, 0, "Good"),
        (0.5, 140, "Bright"),
        (4.0, 0, "Overexposed"),
        (0.02, 110, "Low contrast"),
    ],
)
def test_light_has_advice_in_both_languages(gain: float, offset: int, start: str) -> None:
    reading = measure_lens(cv2.convertScaleAbs(picture(), alpha=gain, beta=offset))
    advice = light_advice(reading)
    assert en(advice).startswith(start) and zh(advice)
    assert en(advice) in light_screen(reading) and zh(advice) in light_line(reading)


def test_metadata_of_the_camera_is_shown_where_present() -> None:
    metadata = {
        "ExposureTime": 33_000.0,
        "AnalogueGain": 7.9,
        "Lux": 41.6,
        "LensPosition": 2.5,
        "FocusFoM": 812.0,
    }
    without, reading = measure_lens(picture()), measure_lens(picture(), metadata)
    assert "camera" not in light_screen(without)
    assert "camera 摄像头: exposed for 33.0 ms 曝光 33.0 ms, gain 7.9 增益 7.9, 42 lux" in light_screen(
        reading
    )
    assert light_line(reading).endswith("gain 7.9 增益 7.9  42 lux") and "lux" not in light_line(without)
    lens = "lens at 2.50 dioptres 镜头 2.50 屈光度  contrast 812 对比度 812"
    assert PeakHold().line(reading).endswith(lens)
    assert "lens at" not in PeakHold().line(without)


def test_the_meter_holds_its_peak() -> None:
    meter, sharp = PeakHold(), picture()
    best, worse = measure_lens(sharp), measure_lens(cv2.GaussianBlur(sharp, (0, 0), 3))
    assert "at the peak" in meter.line(best)
    line = meter.line(worse)
    assert "turn back" in line and f"peak {best.sharpness:5.1f}" in line and "请回转" in line
