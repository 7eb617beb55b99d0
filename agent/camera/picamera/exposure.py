"""Exposing for the payer's face: light on the face in, ExposureValue (stops) out. Slow, bounded, pure.

libcamera has no window for its automatic exposure, so a face before a bright door stays dark. What it has is
ExposureValue, which shifts the brightness that the automatic aims at. This loop shifts it:

1. Nothing happens while the face is within half a stop of the wanted brightness; once it was not, it goes on
   until it is within a fifth of a stop. Two limits, or it would hunt around one.
2. One step of at most half a stop, then nothing until pictures can show it: the automatic takes some frames.
3. Never beyond two stops either way, nor beyond what the camera offers.
4. A face that is burnt out in places is never made brighter, however dark the rest of it is.
5. When the verification ends, everything is forgotten: the next payer starts from the camera's own exposure.
"""

from __future__ import annotations

import math

from agent.core.model import FaceLight

_WANTED_LUMA = 120.0  # 0–255, in the middle of what the quality measures call well exposed
_GAMMA = 2.2  # from pixel values to light
_DARKEST_LUMA = 4.0  # below, the logarithm means nothing any more
_BEGIN_STOPS, _END_STOPS = 0.5, 0.2
_STEP_STOPS = 0.5
_SHARE = 0.6  # of what is wanting, per step: less than all of it, or a late camera would overshoot
_SETTLE_MS = 500
_MOST_STOPS = 2.0
_BURNT = 0.5  # of 1, of the over-exposure measure


class FaceExposure:
    """The value for one camera. Not thread-safe: one caller."""

    def __init__(self, lowest: float = -_MOST_STOPS, highest: float = _MOST_STOPS) -> None:
        """``lowest`` and ``highest``: what the camera offers, in stops; narrowed to two stops."""
        self._lowest = min(0.0, max(-_MOST_STOPS, lowest))
        self._highest = max(0.0, min(_MOST_STOPS, highest))
        self._stepped_ms: int | None = None
        self._is_acting = False
        self.value = 0.0

    def see(self, light: FaceLight | None) -> float:
        """The value from now on, in stops. None: the verification ended.

        Numbers that are not finite say nothing.
        """
        if light is None:
            self._stepped_ms, self._is_acting, self.value = None, False, 0.0
            return self.value
        if self._stepped_ms is not None and light.captured_ms - self._stepped_ms < _SETTLE_MS:
            return self.value
        wanting = _wanting_stops(light)
        if abs(wanting) <= (_END_STOPS if self._is_acting else _BEGIN_STOPS):
            self._is_acting = False
            return self.value
        self._is_acting = True
        step = min(_STEP_STOPS, max(-_STEP_STOPS, wanting * _SHARE))
        value = min(self._highest, max(self._lowest, self.value + step))
        if value != self.value:
            self.value, self._stepped_ms = value, light.captured_ms
        return self.value


def _wanting_stops(light: FaceLight) -> float:
    """How many stops more light the face wants; 0 when the numbers do not tell."""
    if not (math.isfinite(light.luma) and math.isfinite(light.over)):
        return 0.0
    wanting = _GAMMA * math.log2(_WANTED_LUMA / min(255.0, max(_DARKEST_LUMA, light.luma)))
    return min(0.0, wanting) if light.over > _BURNT else wanting
