"""Mapping of the SFace cosine to the scale 0–100 of the API. Pure.

The API documents similarity 70, 80, 90 for false accept rates of 1e-3, 1e-4, 1e-5. One point is *measured*:
at cosine 0.363, 5 of 3 646 impostor pairs pass (0.14 %, 95 % interval 0.04–0.32 %), so 0.363 maps to 70.
The knots above are an *extrapolation*: the cosine at which a normal tail through the measured point (mean
0.05) falls to 1e-4 and 1e-5. These knots are no statement about real error rates.
"""

from __future__ import annotations

import math
from bisect import bisect_right

# (cosine, similarity), both strictly rising; linear interpolation between the knots.
KNOTS = ((0.0, 0.0), (0.363, 70.0), (0.44, 80.0), (0.50, 90.0), (1.0, 100.0))
_COSINES = [cosine for cosine, _ in KNOTS]


def similarity(cosine: float) -> float:
    """Similarity 0–100, two decimals, monotonic in the cosine. NaN for NaN."""
    if math.isnan(cosine):
        return cosine
    cosine = min(max(cosine, KNOTS[0][0]), KNOTS[-1][0])
    upper = min(bisect_right(_COSINES, cosine), len(KNOTS) - 1)
    (c0, s0), (c1, s1) = KNOTS[upper - 1], KNOTS[upper]
    return round(s0 + (s1 - s0) * (cosine - c0) / (c1 - c0), 2)
