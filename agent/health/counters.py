"""Counters of one process, incremented by the terminal and read by status, demo and metrics."""

from bisect import bisect_left
from collections import Counter, deque
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Any

from agent.core.model import Result, Timings
from agent.core.reasons import FrameReason

RECENT = 50
BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
PHASES = tuple(phase.name for phase in fields(Timings))


@dataclass(slots=True)
class Histogram:
    """Durations of one step, over all verifications that contain the step, as a Prometheus histogram."""

    # the last: above all bounds
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
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


@dataclass(slots=True)
class Counters:
    """The sum of ``frames`` is all handled frames; ``results`` plus ``refusals`` is all answered requests."""

    frames: Counter[FrameReason] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)  # by "decision/reason"
    refusals: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    bytes_sent: int = 0  # of encoded faces
    recent: deque[Result] = field(default_factory=lambda: deque(maxlen=RECENT))
    durations: dict[str, Histogram] = field(default_factory=lambda: {phase: Histogram() for phase in PHASES})

    def record_result(self, result: Result) -> None:
        """Count the result of an ended verification."""
        self.results[f"{result.decision}/{result.reason}"] += 1
        self.recent.append(result)
        for phase, histogram in self.durations.items():
            histogram.add(getattr(result.timings, phase))

    @property
    def frames_handled(self) -> int:
        return self.frames.total()

    @property
    def frames_analyzed(self) -> int:
        """Frames of open verifications. A client without local face analysis would send each of these."""
        return self.frames.total() - self.frames[FrameReason.IDLE]

    @property
    def calls_saved(self) -> int:
        """API calls saved, compared with a client that sends every frame of an open verification."""
        return max(0, self.frames_analyzed - self.calls)

    @property
    def calls_saved_by(self) -> dict[FrameReason, int]:
        """Analyzed frames that were not sent, by reason.

        The sum is ``calls_saved`` as long as no shot needed a second API call.
        """
        saved = self.frames - Counter({FrameReason.SHOT: self.calls})
        del saved[FrameReason.IDLE]
        return dict(saved)


def snapshot(counters: Counters) -> dict[str, Any]:
    """The counters as plain values for JSON.

    ``timings_p50_ms``: medians over the last ``RECENT`` results, {} without results.
    ``timings_ms``: histograms over all verifications of this process.
    """
    timings = [asdict(result.timings) for result in counters.recent]
    medians = (
        {name: round(median(timing[name] for timing in timings)) for name in timings[0]} if timings else {}
    )
    numbers = ("calls", "bytes_sent", "calls_saved", "calls_saved_by")
    return {
        **{name: dict(getattr(counters, name)) for name in ("frames", "results", "refusals")},
        **{name: getattr(counters, name) for name in numbers},
        "timings_p50_ms": medians,
        "timings_ms": {phase: histogram.snapshot() for phase, histogram in counters.durations.items()},
    }
