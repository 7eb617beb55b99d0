"""Selection of camera controls: the wanted controls that the camera offers, within the camera's limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Enumerations of libcamera as plain numbers: works without libcamera's binding.
_AE_SHORT = 1  # AeExposureMode: prefers more gain to a blurred face
_AF_CONTINUOUS = 2  # AfMode
_AF_FAST = 1  # AfSpeed
_AF_WINDOWS = 1  # AfMetering

Offered = Mapping[str, tuple[Any, Any, Any]]  # name: lowest, highest, default


def wanted(offered: Offered, fps: float) -> dict[str, Any]:
    """The controls to set before the start. Without those the camera does not offer: these would raise."""
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


def keeps_pace(offered: Offered, fps: float) -> bool:
    """Whether the camera itself can deliver at ``fps``; otherwise the backend needs a ``Pacer``."""
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
    for part in (crop[2], crop[1]):
        if isinstance(part, tuple) and len(part) == 4 and part[2] > 0 and part[3] > 0:
            x, y, wide, high = part
            return (x + wide // 4, y + high // 8, wide // 2, high * 5 // 8)
    return None


def _number(limit: Any) -> float | None:
    """The limit; None when it is no number (some controls have a pair, some no value)."""
    if isinstance(limit, tuple | list) and limit:
        limit = limit[0]
    return float(limit) if isinstance(limit, int | float) and not isinstance(limit, bool) else None
