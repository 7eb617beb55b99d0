"""A sensor's noise for pictures from no sensor: without it a still would pass for a frozen camera."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_SHIFTS = 64  # the noise is one picture, taken at another place for every frame


class SensorNoise:
    """Gaussian noise of a fixed size and seed; the same ``moment`` gives the same bits."""

    def __init__(self, deviation: float, width_px: int, height_px: int, seed: int) -> None:
        """``deviation`` in levels of 255; 0 is no noise."""
        self._seed = seed
        self._layers = _layers(deviation, width_px, height_px, seed) if deviation > 0 else None

    def add_to(self, canvas: Pixels, moment: int) -> None:
        """Add noise in place to an (H, W, 3) uint8 picture of the size given at the start."""
        if self._layers is None:
            return
        high, wide = canvas.shape[:2]
        dy, dx = np.random.default_rng((self._seed, moment)).integers(0, _SHIFTS, 2)
        brighter, darker = (layer[dy : dy + high, dx : dx + wide] for layer in self._layers)
        cv2.add(canvas, brighter, dst=canvas)
        cv2.subtract(canvas, darker, dst=canvas)


@lru_cache(maxsize=2)  # many scenes in a row share one sensor
def _layers(deviation: float, width_px: int, height_px: int, seed: int) -> tuple[Pixels, Pixels]:
    """What the sensor adds and what it takes away, somewhat larger than the frame; never written to."""
    shape = (height_px + _SHIFTS, width_px + _SHIFTS, 3)
    noise = np.random.default_rng((seed, 2)).standard_normal(shape, np.float32) * np.float32(deviation)
    return np.clip(noise, 0, 255).astype(np.uint8), np.clip(-noise, 0, 255).astype(np.uint8)
