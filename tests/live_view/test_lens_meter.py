"""Focus and light of one frame, and the words for them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from agent.diagnostics.meters import PeakHold, light_line, light_screen, light_words
from agent.live_view.lens_meter import STEPS, look_through
from tests.bench.frames import drawn
from tests.texts import en, zh


def picture(scene: str = "one_obama_podium") -> np.ndarray:
    return np.asarray(drawn(scene, count=3)[2], np.uint8)


def test_turning_the_lens_away_from_focus_lowers_the_number_at_every_step() -> None:
    sharp = picture()
    numbers = [look_through(cv2.GaussianBlur(sharp, (0, 0), 0.1 + blur)).sharpness for blur in range(6)]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] > 2 * numbers[-1]


def test_shares_are_of_all_pixels() -> None:
    half = np.zeros((100, 100, 3), np.uint8)
    half[:, 50:] = 255
    look = look_through(half)
    assert (look.dark_share, look.bright_share) == (0.5, 0.5) and look.mean_luma == pytest.approx(127.5)
    assert len(look.levels) == STEPS and look.levels[0] == look.levels[-1] == 0.5


@pytest.mark.parametrize(
    "pixels", [None, np.zeros((4, 4, 3), np.uint8), np.zeros((50, 50)), np.zeros((50, 50, 1), np.uint8)]
)
def test_what_is_no_picture_is_black(pixels: object) -> None:
    look = look_through(pixels)
    assert (look.sharpness, look.mean_luma, look.dark_share) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("gain", "offset", "word"),
    [
        (0.0, 0, "Black"),
        (0.3, 0, "Dark"),
        (1.0, 0, "Good"),
        (0.5, 140, "Bright"),
        (4.0, 0, "Overexposed"),
        (0.02, 110, "Low contrast"),
    ],
)
def test_light_has_words(gain: float, offset: int, word: str) -> None:
    look = look_through(cv2.convertScaleAbs(picture(), alpha=gain, beta=offset))
    advice = light_words(look)
    assert en(advice).startswith(word) and zh(advice)
    assert en(advice) in light_screen(look) and zh(advice) in light_line(look)


def test_what_the_camera_says_of_the_frame_is_shown_where_it_says_anything() -> None:
    told = {
        "ExposureTime": 33_000.0,
        "AnalogueGain": 7.9,
        "Lux": 41.6,
        "LensPosition": 2.5,
        "FocusFoM": 812.0,
    }
    silent, talking = look_through(picture()), look_through(picture(), told)
    assert "camera" not in light_screen(silent)
    assert "camera 摄像头: exposed for 33.0 ms 曝光 33.0 ms, gain 7.9 增益 7.9, 42 lux" in light_screen(
        talking
    )
    assert light_line(talking).endswith("gain 7.9 增益 7.9  42 lux") and "lux" not in light_line(silent)
    assert (
        PeakHold().line(talking).endswith("lens at 2.50 dioptres 镜头 2.50 屈光度  contrast 812 对比度 812")
    )
    assert "lens at" not in PeakHold().line(silent)


def test_the_meter_holds_its_peak() -> None:
    meter, sharp = PeakHold(), picture()
    best, worse = look_through(sharp), look_through(cv2.GaussianBlur(sharp, (0, 0), 3))
    assert "at the peak" in meter.line(best)
    line = meter.line(worse)
    assert "turn back" in line and f"peak {best.sharpness:5.1f}" in line and "请回转" in line
