"""Brightness checks: the health of the camera, and presence in front of it. No face detection.

The checks use one sample of the green channel: every 4th pixel of every 16th row, about 10 µs at 1280×720.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import CameraHealth, Frame

Sample = NDArray[np.uint8]

# as many pixels as a grid of 8 × 8, from half the cache lines: a line of 64 bytes contains five of them
_ROWS, _COLUMNS = 16, 4
_CHANGED_LEVELS = 14  # above sensor noise and the flicker of a lamp
_CHANGED_SHARE = 0.005  # of the sample: a far face is about twice that
_COVERED_LUMA = 12.0  # 0–255
_COVERED_MS = 2_000
_BRIGHT_LUMA = 215.0  # as the doctor's limit
_CLIPPED_LUMA = 250  # a pixel without detail
_CLIPPED_SHARE = 0.4  # as the share of a face that scores 0 (``light.over_exposure_prevention``)
# A picture that is sent twice, also after an encoder. The noise of a sensor alone differs by more: of 14 400
# values with a deviation of 0.5 levels, one differs by about 2.8 levels.
_REPEATED_LEVELS = 2.0
_REPEATED_MS = 2_000  # a sensor has noise, so its pixels differ in each frame
# Longest time between two frames that counts for ``frozen``: a pause (suspend, a stall) is no frozen camera
_STEP_MAX_MS = 1_000
# A video codec sends "no change" for a still scene until its next key frame: 250 frames are a usual interval
CODED_FROZEN_MS = 60_000


def sample(pixels: object) -> Sample | None:
    """Subsampled green channel, (ceil(H/16), ceil(W/4)) uint8; None unless (H, W, 3) uint8 pixels."""
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        return None
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        return None
    return np.ascontiguousarray(pixels[::_ROWS, ::_COLUMNS, 1])


def is_washed_out(luma: Sample) -> bool:
    """Whether so many pixels are clipped that a face can be invisible."""
    return float(np.count_nonzero(luma >= _CLIPPED_LUMA)) > _CLIPPED_SHARE * luma.size


class BrightnessCheck:
    """Checks the brightness of each frame of one camera: covered, over-exposed, repeated, frozen.

    A live sensor never repeats a picture exactly: an unchanged sample for two seconds means a frozen camera.
    The codec of a stream removes the noise of a still scene, so a stream gets more time.
    """

    def __init__(self, frozen_ms: int = _REPEATED_MS) -> None:
        """``frozen_ms``: time without a change, in ms, after which the camera is frozen."""
        self._frozen_ms = frozen_ms
        self._last: Sample | None = None  # the newest sample that differs at all from the one before
        self._newest: Sample | None = (
            None  # of the last new picture: differs by more than ``_REPEATED_LEVELS``
        )
        self._changed_ms = self._checked_ms = 0
        self._frozen_for_ms = 0  # without a change, each step at most ``_STEP_MAX_MS``
        self._lit_ms: int | None = None
        self._unsaturated_ms: int | None = None

    def check(self, frame: Frame) -> CameraHealth:
        """Check one frame. Invalid pixels count as black. Never raises."""
        luma = sample(frame.pixels)
        if luma is None:
            luma = np.zeros((1, 1), np.uint8)
        mean = float(cv2.mean(luma)[0])
        now_ms = frame.captured_ms
        is_repeated = self._newest is not None and _same(luma, self._newest, _REPEATED_LEVELS)
        if not is_repeated:  # otherwise slow changes would never add up to a new picture
            self._newest = luma
        if self._last is None or not _same(luma, self._last):
            self._last = luma
            self._changed_ms, self._frozen_for_ms = now_ms, 0
        else:
            self._frozen_for_ms += min(now_ms - self._checked_ms, _STEP_MAX_MS)
        self._checked_ms = now_ms
        if mean > _COVERED_LUMA or self._lit_ms is None:
            self._lit_ms = now_ms
        if mean < _BRIGHT_LUMA or self._unsaturated_ms is None:
            self._unsaturated_ms = now_ms
        unchanged_ms = now_ms - self._changed_ms
        return CameraHealth(
            mean_luma=mean,
            covered=now_ms - self._lit_ms >= _COVERED_MS,
            overexposed=now_ms - self._unsaturated_ms >= _COVERED_MS,
            repeated_ms=unchanged_ms if unchanged_ms >= _REPEATED_MS else 0,
            is_repeated=is_repeated,
            frozen=self._frozen_for_ms >= self._frozen_ms,
        )


def _same(one: Sample, other: Sample, levels: float = 0.0) -> bool:
    return one.shape == other.shape and cv2.norm(one, other, cv2.NORM_INF) <= levels


class PresenceGate:
    """Detects a difference to the empty scene, which is learnt from frames without a face."""

    def __init__(self) -> None:
        self._empty: Sample | None = None

    def begin(self) -> None:
        """Delete the scene: frames count as present until a detection without a face."""
        self._empty = None

    def is_present(self, luma: Sample) -> bool:
        """True when enough of the sample or the frame size changed, or before the first ``learn``."""
        if self._empty is None or self._empty.shape != luma.shape:
            return True
        difference = cv2.absdiff(luma, self._empty)
        changed = cv2.threshold(difference, _CHANGED_LEVELS, 255, cv2.THRESH_BINARY)[1]
        return cv2.countNonZero(changed) > _CHANGED_SHARE * luma.size

    def learn(self, luma: Sample) -> None:
        """Store the sample of a frame without a face as the empty scene."""
        self._empty = luma
