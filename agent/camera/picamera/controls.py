"""Which controls a camera gets: of those we want, the ones it offers, within its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Enumerations of libcamera as plain numbers: its binding need not be there to decide.
_AE_SHORT = 1  # AeExposureMode: rather more gain than a blurred face
_AF_CONTINUOUS = 2  # AfMode
_AF_FAST = 1  # AfSpeed
_AF_WINDOWS = 1  # AfMetering

Offered = Mapping[str, tuple[Any, Any, Any]]  # name: lowest, highest, default


def wanted(offered: Offered, fps: float) -> dict[str, Any]:
    """What to set before the start. Anything a camera does not offer would raise, so it is left out."""
    wishes: dict[str, Any] = {
        "AeEnable": True,
        "AeExposureMode": _AE_SHORT,
        "AfMode": _AF_CONTINUOUS,
        "AfSpeed": _AF_FAST,
        "FrameDurationLimits": (period_us(offered, fps),) * 2,
    }
    window = af_window(offered)
    if window is not None and "AfMetering" in offered:
        wishes |= {"AfMetering": _AF_WINDOWS, "AfWindows": [window]}
    return {name: value for name, value in wishes.items() if name in offered}


def period_us(offered: Offered, fps: float) -> int:
    """Time from frame to frame that comes nearest to ``fps`` within what the camera can do now."""
    wished = round(1_000_000 / fps)
    lowest, highest = _numbers(offered.get("FrameDurationLimits"))
    if lowest is not None:
        wished = max(wished, int(lowest))
    if highest is not None and (lowest is None or highest >= lowest):
        wished = min(wished, int(highest))
    return wished


def keeps_pace(offered: Offered, fps: float) -> bool:
    """Whether the camera itself can deliver at ``fps``; else somebody has to wait."""
    return "FrameDurationLimits" in offered and period_us(offered, fps) == round(1_000_000 / fps)


def exposure_range(offered: Offered) -> tuple[float, float] | None:
    """Lowest and highest ExposureValue in stops; None when the camera has none."""
    if "ExposureValue" not in offered:
        return None
    lowest, highest = _numbers(offered["ExposureValue"])
    return (-8.0 if lowest is None else lowest, 8.0 if highest is None else highest)


def af_window(offered: Offered) -> tuple[int, int, int, int] | None:
    """Where a payer's face is to be expected: the middle of the picture, a little above its centre.

    In the coordinates AfWindows is in, those of ScalerCropMaximum, which is ScalerCrop's highest value; the
    picture shows ScalerCrop's default, a part of that. None for a camera without either.
    """
    crop = offered.get("ScalerCrop")
    if "AfWindows" not in offered or crop is None:
        return None
    shown = next((part for part in (crop[2], crop[1]) if _has_inside(part)), None)
    if shown is None:
        return None
    x, y, wide, high = shown
    return (x + wide // 4, y + high // 8, wide // 2, high * 5 // 8)


def _has_inside(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) == 4 and part[2] > 0 and part[3] > 0


def _numbers(limits: tuple[Any, Any, Any] | None) -> tuple[float | None, float | None]:
    """Lowest and highest, where they are numbers (some controls have a pair there, some nothing)."""

    def number(limit: Any) -> float | None:
        if isinstance(limit, tuple | list) and limit:
            limit = limit[0]
        return float(limit) if isinstance(limit, int | float) and not isinstance(limit, bool) else None

    return (None, None) if limits is None else (number(limits[0]), number(limits[1]))
