"""Brightness checks: healthy, covered and frozen cameras; an empty shop and a person in it."""

from __future__ import annotations

import numpy as np
import pytest

from agent.core.model import CameraHealth, Frame
from agent.vision.luma import CODED_FROZEN_MS, BrightnessCheck, PresenceGate, sample
from tests.vision.people import Pixels, empty_shop, standing


def watched(
    pictures: list[object], every_ms: int = 500, watch: BrightnessCheck | None = None
) -> CameraHealth:
    """The camera health after the last frame."""
    watch = watch or BrightnessCheck()
    health = [watch.check(Frame(p, n, n * every_ms, 1280, 720)) for n, p in enumerate(pictures)]
    return health[-1]


def test_a_live_camera_in_an_empty_shop_is_healthy() -> None:
    health = watched([empty_shop(at_ms) for at_ms in range(0, 4_000, 500)])
    assert not health.covered
    assert not health.frozen
    assert 60 < health.mean_luma < 200


def test_same_picture_for_two_seconds_is_frozen() -> None:
    still = empty_shop()
    assert not watched([still] * 4).frozen
    assert watched([still] * 5).frozen
    assert not watched([*[still] * 5, empty_shop(1)]).frozen, "the first new picture clears the state"


def test_same_picture_before_and_after_a_pause_is_old_and_not_frozen() -> None:
    """A suspended or stopped process gets one more frame of the time before: the camera is not frozen."""
    still = empty_shop()
    health = watched([still, still], every_ms=20_000)
    assert health.repeated_ms == 20_000 and not health.frozen
    assert watched([still] * 3, every_ms=20_000).frozen, "a camera that repeats a picture at each frame"


def test_coded_stream_of_a_still_scene_is_repeated_and_frozen_only_after_its_limit() -> None:
    still = empty_shop()
    within = watched([still] * 121, watch=BrightnessCheck(CODED_FROZEN_MS))
    assert within.repeated_ms and within.frozen, "121 pictures are 60 s"
    within = watched([still] * 120, watch=BrightnessCheck(CODED_FROZEN_MS))
    assert within.repeated_ms and not within.frozen
    assert not watched([*[still] * 60, empty_shop(1)], watch=BrightnessCheck(CODED_FROZEN_MS)).repeated_ms


@pytest.mark.parametrize(
    ("levels", "repeated"), [(0, True), (2, True), (3, False)], ids=["same", "encoded again", "another"]
)
def test_picture_within_two_levels_of_the_frame_before_is_repeated(levels: int, repeated: bool) -> None:
    first = empty_shop()
    second = first.copy()
    second[:8, :8] += np.uint8(levels)
    assert watched([empty_shop(1), first, second], every_ms=100).is_repeated is repeated
    assert watched([first, second, first], every_ms=100).is_repeated is repeated
    assert not watched([first], every_ms=100).is_repeated


def test_slow_change_of_a_camera_without_noise_adds_up_to_new_pictures() -> None:
    """A verification gets no repeated picture, so it would get none at all while the light changes slowly."""
    watch, scene = BrightnessCheck(), np.full((240, 320, 3), 60, np.uint8)
    frames = [Frame(scene + np.uint8(level), level, level * 100, 320, 240) for level in range(60)]
    assert sum(not watch.check(frame).is_repeated for frame in frames) == 20


def test_sensor_noise_alone_is_no_repeated_picture() -> None:
    dice, scene = np.random.default_rng(3), empty_shop().astype(np.float64)
    noisy = [np.clip(scene + dice.normal(0, 0.7, scene.shape), 0, 255).astype(np.uint8) for _ in range(2)]
    assert not watched(list(noisy), every_ms=100).is_repeated


def test_black_for_two_seconds_is_covered() -> None:
    dice = np.random.default_rng(1)
    black: list[object] = [dice.integers(0, 6, (720, 1280, 3), np.uint8) for _ in range(5)]
    assert not watched(black[:4]).covered
    assert watched(black).covered
    assert not watched(black).frozen, "noise shows that the sensor works"
    assert not watched([*black, empty_shop()]).covered


@pytest.mark.parametrize(
    "odd",
    [None, "pixels", np.zeros((5, 5)), np.zeros((0, 0, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)],
    ids=["none", "text", "float and flat", "empty", "one pixel"],
)
def test_invalid_pixels_count_as_black(odd: object) -> None:
    assert watched([odd] * 5) == CameraHealth(
        0.0, covered=True, repeated_ms=2_000, is_repeated=True, frozen=True
    )


def test_frame_size_may_change() -> None:
    assert not watched([empty_shop(), np.full((480, 640, 3), 99, np.uint8)] * 3).frozen


def luma(pixels: Pixels) -> Pixels:
    taken = sample(pixels)
    assert taken is not None
    return taken


def test_the_sample_has_few_rows_and_many_columns() -> None:
    """A row of the frame costs more than a pixel of a row that is read anyway."""
    assert luma(empty_shop()).shape == (45, 320)
    assert luma(np.zeros((721, 1281, 3), np.uint8)).shape == (46, 321)


def test_presence_before_the_empty_scene_is_learnt() -> None:
    gate = PresenceGate()
    assert gate.is_present(luma(empty_shop()))
    gate.learn(luma(empty_shop()))
    assert not gate.is_present(luma(empty_shop(100)))
    gate.begin()
    assert gate.is_present(luma(empty_shop(200)))


@pytest.mark.parametrize("face", [0.08, 0.32, 0.8])
@pytest.mark.parametrize("name", ["obama_portrait", "collins_portrait"])
def test_presence_of_a_near_and_a_far_person(name: str, face: float) -> None:
    gate = PresenceGate()
    gate.learn(luma(empty_shop()))
    assert gate.is_present(luma(standing(name, face=face)))


def test_presence_after_a_change_of_the_frame_size() -> None:
    gate = PresenceGate()
    gate.learn(luma(empty_shop()))
    assert gate.is_present(luma(np.zeros((480, 640, 3), np.uint8)))
