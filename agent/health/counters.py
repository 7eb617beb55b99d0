"""Counters of one process: plain numbers, added up where things happen, read by status, demo and metrics."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Any

from agent.core.model import Result, Timings
from agent.core.reasons import FrameReason
from agent.health.histogram import Histogram

RECENT = 50
PHASES = tuple(each.name for each in fields(Timings))


@dataclass(slots=True)
class Counters:
    """``frames`` adds up to every frame handled; ``results`` and ``refusals`` to every request answered."""

    frames: Counter[FrameReason] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)  # by "decision/reason"
    refusals: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    bytes_sent: int = 0  # of encoded faces
    recent: deque[Result] = field(default_factory=lambda: deque(maxlen=RECENT))
    laps: dict[str, Histogram] = field(default_factory=lambda: {phase: Histogram() for phase in PHASES})

    def ended(self, result: Result) -> None:
        """One more result is settled."""
        self.results[f"{result.decision}/{result.reason}"] += 1
        self.recent.append(result)
        for phase, laps in self.laps.items():
            laps.add(getattr(result.timings, phase))

    @property
    def frames_seen(self) -> int:
        return self.frames.total()

    @property
    def frames_looked_at(self) -> int:
        """Frames of open verifications: a client without a local eye would have sent each of them."""
        return self.frames.total() - self.frames[FrameReason.IDLE]

    @property
    def calls_saved(self) -> int:
        """Calls a client that sends every frame of an open verification would have paid on top of ours."""
        return max(0, self.frames_looked_at - self.calls)

    @property
    def calls_saved_by(self) -> dict[FrameReason, int]:
        """What saved them: frames that were looked at and not sent, by reason.

        Adds up to ``calls_saved`` as long as no picture was asked about twice.
        """
        saved = self.frames - Counter({FrameReason.SHOT: self.calls})
        del saved[FrameReason.IDLE]
        return dict(saved)


def snapshot(counters: Counters) -> dict[str, Any]:
    """The numbers as plain values; ``timings_p50_ms`` are medians over the last results, {} without any.

    ``timings_ms`` are all verifications of this process, see ``laps``.
    """
    timings = [asdict(result.timings) for result in counters.recent]
    medians = {name: round(median(each[name] for each in timings)) for name in timings[0]} if timings else {}
    return {
        "frames": dict(counters.frames),
        "results": dict(counters.results),
        "refusals": dict(counters.refusals),
        "calls": counters.calls,
        "bytes_sent": counters.bytes_sent,
        "calls_saved": counters.calls_saved,
        "calls_saved_by": counters.calls_saved_by,
        "timings_p50_ms": medians,
        "timings_ms": {phase: laps.snapshot() for phase, laps in counters.laps.items()},
    }
