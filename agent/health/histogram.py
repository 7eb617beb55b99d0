"""Histogram of durations with fixed bounds, in the form of a Prometheus histogram. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


@dataclass(slots=True)
class Histogram:
    """Durations of one step, over all verifications that contain the step."""

    counts: list[int] = field(
        default_factory=lambda: [0] * (len(BOUNDS_MS) + 1)
    )  # the last: above all bounds
    sum_ms: int = 0

    def add(self, spent_ms: int) -> None:
        """Add one duration. A step of 0 ms did not take place, see ``core.model.Timings``."""
        if spent_ms > 0:
            self.counts[bisect_left(BOUNDS_MS, spent_ms)] += 1
            self.sum_ms += spent_ms

    def snapshot(self) -> dict[str, Any]:
        """``le_ms``: cumulative count per bound; ``count`` and ``sum_ms``: of all durations."""
        cumulative, total = dict[str, int](), 0
        for bound, count in zip(BOUNDS_MS, self.counts, strict=False):
            total += count
            cumulative[str(bound)] = total
        return {"count": sum(self.counts), "sum_ms": self.sum_ms, "le_ms": cumulative}
