"""The orientation of a camera: every kind delivers upright frames."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from agent.camera.orientation import Orientation, Rotation
from agent.config import CameraConfig, Config, PolicyConfig, VisionConfig
from agent.config.file import load
from agent.core.model import Frame
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.errors import ConfigError
from agent.resources import data
from agent.root.cameras import make_camera
from agent.root.wiring import BootClock
from agent.vision.face_analyzer import LocalFaceAnalyzer

Pixels = NDArray[np.uint8]
ROTATIONS = get_args(Rotation)


def marked() -> Pixels:
    """Every pixel is different from every other pixel."""
    return np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def frame(pixels: object, small: object = None) -> Frame:
    return Frame(pixels, 7, 1_234, 6, 4, small, {"Lux": 41.6})


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_upright_undoes_the_mounting_and_keeps_the_rest(rotation: Rotation, mirror: bool) -> None:
    mounted = np.rot90(marked()[:, ::-1] if mirror else marked(), rotation // 90).copy()
    upright = Orientation(rotation, mirror).turn_upright(frame(mounted, mounted))
    for turned in (upright.pixels, upright.small):
        assert isinstance(turned, np.ndarray) and np.array_equal(turned, marked())
    assert (upright.width_px, upright.height_px) == (6, 4)
    assert (upright.seq, upright.captured_ms, upright.metadata) == (7, 1_234, {"Lux": 41.6})


def test_upright_of_an_upright_camera_copies_nothing() -> None:
    captured = frame(marked())
    assert Orientation().turn_upright(captured) is captured


@pytest.mark.parametrize("pixels", [None, "no picture"])
def test_upright_without_pixels_is_the_same_frame(pixels: object) -> None:
    captured = frame(pixels)
    assert Orientation(90).turn_upright(captured) is captured


@pytest.mark.parametrize("rotation", ["45", "360", "-90", '"90"'])
def test_config_other_rotation_is_refused_with_its_key(tmp_path: Path, rotation: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f"[camera]\nrotation = {rotation}\n")
    with pytest.raises(ConfigError, match=r"camera\.rotation"):
        load(path, Config)


@pytest.mark.parametrize("rotation", ROTATIONS)
async def test_payer_before_a_rotated_camera_is_found_upright(tmp_path: Path, rotation: Rotation) -> None:
    portrait = cv2.imread(str(data("photos/obama_portrait.jpg")))
    assert portrait is not None
    high, wide = portrait.shape[:2]
    mounted = np.rot90(portrait, rotation // 90)
    cv2.imwrite(str(tmp_path / "one.png"), mounted)
    size = {"width_px": mounted.shape[1], "height_px": mounted.shape[0]}
    config = CameraConfig(source=str(tmp_path), rotation=rotation, **size)
    camera = make_camera(config, BootClock())
    camera.start()
    try:
        taken = await camera.next_frame(0)
    finally:
        camera.stop()
    assert (taken.width_px, taken.height_px) == (wide, high)
    analyzer = LocalFaceAnalyzer(VisionConfig(), PolicyLimits(**PolicyConfig().model_dump()))
    analyzer.begin(0)
    assert analyzer.analyze(taken).face is not None
    assert analyzer.analyze(taken).reason is not FrameReason.NO_FACE
