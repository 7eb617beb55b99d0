"""Simulated sensor noise. Without noise, a still picture would count as a frozen camera."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from agent.camera.fitting import Pixels

_TILE_PX = 128  # the noise is one repeated tile, with a different offset for each frame


class SensorNoise:
    """Gaussian noise of a fixed size and seed; equal ``key`` gives equal bits."""

    def __init__(self, deviation: float, width_px: int, height_px: int, seed: int) -> None:
        """``deviation``: in levels of 255; 0 is no noise."""
        self._seed = seed
        self._layers = _layers(deviation, width_px, height_px, seed) if deviation > 0 else None

    def add_to(self, canvas: Pixels, key: int) -> None:
        """Add noise in place to an (H, W, 3) uint8 picture of the constructor's size."""
        if self._layers is None:
            return
        high, wide = canvas.shape[:2]
        dy, dx = np.random.default_rng((self._seed, key)).integers(0, _TILE_PX, 2)
        brighter, darker = (layer[dy : dy + high, dx : dx + wide] for layer in self._layers)
        cv2.add(canvas, brighter, dst=canvas)
        cv2.subtract(canvas, darker, dst=canvas)


@lru_cache(maxsize=2)  # successive scenes share one sensor
def _layers(deviation: float, width_px: int, height_px: int, seed: int) -> tuple[Pixels, Pixels]:
    """The levels to add and to subtract, one tile larger than the frame; read-only by convention."""
    tile = np.random.default_rng((seed, 2)).standard_normal((_TILE_PX, _TILE_PX, 3), np.float32)
    noise = tile * np.float32(deviation)
    repeats = (-(-height_px // _TILE_PX) + 1, -(-width_px // _TILE_PX) + 1, 1)
    brighter, darker = (np.clip(part, 0, 255).astype(np.uint8) for part in (noise, -noise))
    return np.tile(brighter, repeats), np.tile(darker, repeats)
