"""Checks of the detector and of the camera's focus, for `facepay doctor`. No payer's face is analyzed."""

from __future__ import annotations

import time

import cv2
import numpy as np

from agent.config import VisionConfig
from agent.errors import ModelError
from agent.health.probe_results import ModelProbe
from agent.resources import data
from agent.vision.detector import Detector
from agent.vision.quality import sharpness

_PORTRAIT = "photos/obama_portrait.jpg"  # shipped, one person
_WIDTH_PX = 320


def check_detector(config: VisionConfig) -> ModelProbe:
    """Run the configured detector on the shipped portrait.

    Raises ``ModelError``: missing, changed or unusable weights.
    """
    detector = Detector.load(config.detector_model, width_px=config.detector_width_px)
    picture = cv2.imread(str(data(_PORTRAIT)))
    if picture is None:
        raise ModelError(f"{_PORTRAIT}: the shipped picture cannot be decoded")
    began_s = time.monotonic()
    faces = detector.detect(np.asarray(picture, np.uint8))
    return ModelProbe(len(faces), round((time.monotonic() - began_s) * 1e3))


def scene_sharpness(pixels: object) -> float:
    """Sharpness of a whole picture at a width of 320 px: 0–100; 0 for a picture without detail or no picture.

    Args:
        pixels: (H, W, 3) uint8, B,G,R; anything else is 0.
    """
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.dtype != np.uint8:
        return 0.0
    high, wide = pixels.shape[:2]
    if min(high, wide) < 16:
        return 0.0
    gray = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    size = (_WIDTH_PX, max(3, round(high * _WIDTH_PX / wide)))
    return sharpness(np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8))
