"""The scale of all quality measures."""

import math


def percent(share: float) -> float:
    """Convert 0–1 to 0–100, clamped. NaN becomes 0: an unmeasurable value counts as bad."""
    return 0.0 if math.isnan(share) else 100.0 * min(1.0, max(0.0, share))
