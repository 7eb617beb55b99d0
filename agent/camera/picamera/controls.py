"""Camera controls: the wanted ones that the camera offers, within its limits; exposure control for the face.

libcamera has no metering window for its automatic exposure, so a face before a bright door stays dark.
ExposureValue shifts the target brightness of the automatic exposure. This control loop sets ExposureValue:

1. No step while the face is within half a stop of the wanted brightness. Otherwise steps follow until the
   face is within a fifth of a stop. With one limit the loop would oscillate around the limit.
2. After a step of at most half a stop, a pause: the automatic exposure needs some frames.
3. The value stays within two stops either way, and within the camera's range.
4. A face with overexposed parts is never made brighter, even when the rest is dark.
5. The end of the verification resets the value: the next payer starts from the camera's own exposure.
"""

import math
from collections.abc import Mapping
from typing import Any

from agent.core.model import FaceLight

# Enumerations of libcamera as plain numbers: works without libcamera's binding.
_AE_SHORT = 1  # AeExposureMode: prefers more gain to a blurred face
_AF_CONTINUOUS = 2  # AfMode
_AF_FAST = 1  # AfSpeed
_AF_WINDOWS = 1  # AfMetering

_WANTED_LUMA = 120.0  # 0–255, in the middle of what the quality measures call well exposed
_GAMMA = 2.2  # from pixel values to light
_DARKEST_LUMA = 4.0  # a smaller value gives no useful logarithm
_BEGIN_STOPS, _END_STOPS = 0.5, 0.2
_STEP_STOPS = 0.5
_STEP_SHARE = 0.6  # of the missing stops, per step: with 1.0 a slow camera would overshoot
_SETTLE_MS = 500
_MAX_STOPS = 2.0
_OVEREXPOSED = 0.5  # of 1, of the over-exposure measure

Offered = Mapping[str, tuple[Any, Any, Any]]  # name: lowest, highest, default


def initial_controls(offered: Offered, fps: float) -> dict[str, Any]:
    """The controls to set before the start, without those that the camera lacks: they would raise."""
    controls: dict[str, Any] = {
        "AeEnable": True,
        "AeExposureMode": _AE_SHORT,
        "AfMode": _AF_CONTINUOUS,
        "AfSpeed": _AF_FAST,
        "FrameDurationLimits": (period_us(offered, fps),) * 2,
    }
    window = af_window(offered)
    if window is not None and "AfMetering" in offered:
        controls |= {"AfMetering": _AF_WINDOWS, "AfWindows": [window]}
    return {name: value for name, value in controls.items() if name in offered}


def period_us(offered: Offered, fps: float) -> int:
    """The frame period nearest to ``fps`` within the camera's present limits."""
    period = round(1_000_000 / fps)
    lowest, highest, _ = map(_number, offered.get("FrameDurationLimits", (None, None, None)))
    if lowest is not None:
        period = max(period, int(lowest))
    if highest is not None and (lowest is None or highest >= lowest):
        period = min(period, int(highest))
    return period


def can_limit_rate(offered: Offered, fps: float) -> bool:
    """Whether the camera itself can limit its rate to ``fps``; else the backend uses a ``FrameTimer``."""
    return "FrameDurationLimits" in offered and period_us(offered, fps) == round(1_000_000 / fps)


def exposure_range(offered: Offered) -> tuple[float, float] | None:
    """Lowest and highest ExposureValue in stops; None without this control."""
    if "ExposureValue" not in offered:
        return None
    lowest, highest, _ = map(_number, offered["ExposureValue"])
    return (-8.0 if lowest is None else lowest, 8.0 if highest is None else highest)


def af_window(offered: Offered) -> tuple[int, int, int, int] | None:
    """The expected area of a payer's face, (x, y, width, height): the middle, a little above the centre.

    The coordinates of AfWindows are those of ScalerCropMaximum, which is ScalerCrop's highest value. The
    picture shows ScalerCrop's default, a part of the maximum. None for a camera without these controls.
    """
    crop = offered.get("ScalerCrop")
    if "AfWindows" not in offered or crop is None:
        return None
    for crop_area in (crop[2], crop[1]):
        if isinstance(crop_area, tuple) and len(crop_area) == 4 and crop_area[2] > 0 and crop_area[3] > 0:
            x, y, width, height = crop_area
            return (x + width // 4, y + height // 8, width // 2, height * 5 // 8)
    return None


def _number(limit: Any) -> float | None:
    """The limit; None when it is no number (some controls have a pair, some no value)."""
    if isinstance(limit, tuple | list) and limit:
        limit = limit[0]
    return float(limit) if isinstance(limit, int | float) and not isinstance(limit, bool) else None


class FaceExposure:
    """The exposure control of one camera: face light in, ExposureValue (stops) out. Slow, bounded, pure.

    Not thread-safe: one caller.
    """

    def __init__(self, lowest: float = -_MAX_STOPS, highest: float = _MAX_STOPS) -> None:
        """``lowest`` and ``highest``: the camera's range in stops; narrowed to two stops."""
        self._lowest = min(0.0, max(-_MAX_STOPS, lowest))
        self._highest = max(0.0, min(_MAX_STOPS, highest))
        self._stepped_ms: int | None = None
        self._is_adjusting = False
        self.value = 0.0

    def update(self, light: FaceLight | None) -> float:
        """The new value in stops. ``light``: None after the verification; ignored when not finite."""
        if light is None:
            self._stepped_ms, self._is_adjusting, self.value = None, False, 0.0
            return self.value
        if self._stepped_ms is not None and light.captured_ms - self._stepped_ms < _SETTLE_MS:
            return self.value
        missing = _missing_stops(light)
        if abs(missing) <= (_END_STOPS if self._is_adjusting else _BEGIN_STOPS):
            self._is_adjusting = False
            return self.value
        self._is_adjusting = True
        step = min(_STEP_STOPS, max(-_STEP_STOPS, missing * _STEP_SHARE))
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
