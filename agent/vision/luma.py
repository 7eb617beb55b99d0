"""Cheap looks at brightness: is the camera healthy, does anybody stand there? No face is looked for here.

One sample of the green channel, every 8th pixel of every 8th row: some ten microseconds at 1280×720.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import CameraHealth, Frame

Sample = NDArray[np.uint8]

_STRIDE = 8
_CHANGED_LEVELS = 14  # beyond sensor noise and the flicker of a lamp
_CHANGED_SHARE = 0.005  # of the sample: a far face is about twice that
_COVERED_LUMA = 12.0  # 0–255
_COVERED_MS = 2_000
_FROZEN_MS = 2_000


def sample(pixels: object) -> Sample | None:
    """Subsampled green channel, (ceil(H/8), ceil(W/8)) uint8; None unless (H, W, 3) uint8 pixels."""
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        return None
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        return None
    return np.ascontiguousarray(pixels[::_STRIDE, ::_STRIDE, 1])


class LumaWatch:
    """The camera's health from one look per frame: covered, frozen.

    A live sensor is never twice the same to the bit: a sample unchanged for two seconds is a frozen camera.
    """

    def __init__(self) -> None:
        self._last: Sample | None = None
        self._changed_ms = 0
        self._lit_ms: int | None = None

    def look(self, frame: Frame) -> CameraHealth:
        """Judge one frame. Pixels of a wrong kind are black to it; never raises."""
        luma = sample(frame.pixels)
        if luma is None:
            luma = np.zeros((1, 1), np.uint8)
        mean = float(cv2.mean(luma)[0])
        now_ms = frame.captured_ms
        if self._last is None or not _same(luma, self._last):
            self._last = luma
            self._changed_ms = now_ms
        if mean > _COVERED_LUMA or self._lit_ms is None:
            self._lit_ms = now_ms
        return CameraHealth(
            mean_luma=mean,
            covered=now_ms - self._lit_ms >= _COVERED_MS,
            frozen=now_ms - self._changed_ms >= _FROZEN_MS,
        )


def _same(one: Sample, other: Sample) -> bool:
    return one.shape == other.shape and cv2.norm(one, other, cv2.NORM_INF) == 0.0


class PresenceGate:
    """Does the picture differ from the empty scene? The empty scene is learnt from frames without a face."""

    def __init__(self) -> None:
        self._empty: Sample | None = None

    def begin(self) -> None:
        """Forget the scene: the first frame counts as present until a detection says that it is empty."""
        self._empty = None

    def is_present(self, luma: Sample) -> bool:
        """True when enough of the sample changed, when the frame's size did, or before anything is learnt."""
        if self._empty is None or self._empty.shape != luma.shape:
            return True
        difference = cv2.absdiff(luma, self._empty)
        changed = cv2.threshold(difference, _CHANGED_LEVELS, 255, cv2.THRESH_BINARY)[1]
        return cv2.countNonZero(changed) > _CHANGED_SHARE * luma.size

    def learn(self, luma: Sample) -> None:
        """A detection found nobody in this frame: this is what empty looks like now."""
        self._empty = luma
