"""The one scale of all measures."""

from __future__ import annotations

import math


def percent(share: float) -> float:
    """0–1 as 0–100, clamped; NaN is 0: what cannot be measured is not good."""
    return 0.0 if math.isnan(share) else 100.0 * min(1.0, max(0.0, share))
