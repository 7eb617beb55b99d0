"""Exposure control for the payer's face: face light in, ExposureValue (stops) out. Slow, bounded, pure.

libcamera has no metering window for its automatic exposure, so a face before a bright door stays dark.
ExposureValue shifts the target brightness of the automatic exposure. This control loop sets ExposureValue:

1. No step while the face is within half a stop of the wanted brightness. Otherwise steps follow until the
   face is within a fifth of a stop. With one limit the loop would oscillate around the limit.
2. After a step of at most half a stop, a pause: the automatic exposure needs some frames.
3. The value stays within two stops either way, and within the camera's range.
4. A face with overexposed parts is never made brighter, even when the rest is dark.
5. The end of the verification resets the value: the next payer starts from the camera's own exposure.
"""

from __future__ import annotations

import math

from agent.core.model import FaceLight

_WANTED_LUMA = 120.0  # 0–255, in the middle of what the quality measures call well exposed
_GAMMA = 2.2  # from pixel values to light
_DARKEST_LUMA = 4.0  # a smaller value gives no useful logarithm
_BEGIN_STOPS, _END_STOPS = 0.5, 0.2
_STEP_STOPS = 0.5
_SHARE = 0.6  # of the missing stops, per step: with 1.0 a slow camera would overshoot
_SETTLE_MS = 500
_MOST_STOPS = 2.0
_OVEREXPOSED = 0.5  # of 1, of the over-exposure measure


class FaceExposure:
    """The control loop of one camera. Not thread-safe: one caller."""

    def __init__(self, lowest: float = -_MOST_STOPS, highest: float = _MOST_STOPS) -> None:
        """``lowest`` and ``highest``: the camera's range in stops; narrowed to two stops."""
        self._lowest = min(0.0, max(-_MOST_STOPS, lowest))
        self._highest = max(0.0, min(_MOST_STOPS, highest))
        self._stepped_ms: int | None = None
        self._is_acting = False
        self.value = 0.0

    def update(self, light: FaceLight | None) -> float:
        """The new value in stops. ``light``: None after the verification; ignored when not finite."""
        if light is None:
            self._stepped_ms, self._is_acting, self.value = None, False, 0.0
            return self.value
        if self._stepped_ms is not None and light.captured_ms - self._stepped_ms < _SETTLE_MS:
            return self.value
        missing = _missing_stops(light)
        if abs(missing) <= (_END_STOPS if self._is_acting else _BEGIN_STOPS):
            self._is_acting = False
            return self.value
        self._is_acting = True
        step = min(_STEP_STOPS, max(-_STEP_STOPS, missing * _SHARE))
        value = min(self._highest, max(self._lowest, self.value + step))
        if value != self.value:
            self.value, self._stepped_ms = value, light.captured_ms
        return self.value


def _missing_stops(light: FaceLight) -> float:
    """Stops to the wanted brightness, positive for a dark face; 0 for non-finite numbers."""
    if not (math.isfinite(light.luma) and math.isfinite(light.over)):
        return 0.0
    missing = _GAMMA * math.log2(_WANTED_LUMA / min(255.0, max(_DARKEST_LUMA, light.luma)))
    return min(0.0, missing) if light.over > _OVEREXPOSED else missing
