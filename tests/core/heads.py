"""A head and a flat picture of a head: five points in space, projected by a pinhole camera."""

from __future__ import annotations

import math
from functools import lru_cache

from agent.core.model import Landmarks, Point

# Millimetres, x to the picture's right, y down, z towards the camera: eyes, nose, mouth corners.
HEAD = ((-31.0, 0.0, 0.0), (31.0, 0.0, 0.0), (0.0, 40.0, 25.0), (-25.0, 70.0, 0.0), (25.0, 70.0, 0.0))
PICTURE = tuple((x, y, 0.0) for x, y, _ in HEAD)

Solid = tuple[tuple[float, float, float], ...]


@lru_cache(maxsize=64)
def view(
    solid: Solid = HEAD,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    distance_mm: float = 500.0,
    x_px: float = 640.0,
) -> Landmarks:
    """Landmarks after a turn in degrees; positive yaw is to the person's left, the right of the picture."""
    points = []
    for x, y, z in solid:
        yawed_x, yawed_z = _rotate(x, z, yaw)
        pitched_y, pitched_z = _rotate(y - 35.0, yawed_z, pitch)
        seen_x, seen_y = _rotate(yawed_x, pitched_y, roll)
        scale = 1_000.0 / (distance_mm - pitched_z)
        points.append(Point(x_px + seen_x * scale, 360.0 + seen_y * scale))
    return Landmarks(*points)


def _rotate(a: float, b: float, degrees: float) -> tuple[float, float]:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return c * a + s * b, c * b - s * a
