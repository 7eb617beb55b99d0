"""Temperature of the processor, from the kernel's thermal zones."""

from __future__ import annotations

from pathlib import Path

HOT_C = 85.0  # a Pi slows down from 80 to 85


def hottest_c(root: Path = Path("/")) -> float | None:
    """The highest temperature of all zones in °C; None without a zone."""
    found = []
    for zone in (root / "sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text()) / 1e3)
        except (OSError, ValueError):
            continue  # a zone whose driver is not ready
    return max(found, default=None)
