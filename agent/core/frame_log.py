"""What became of each frame of one verification: numbers and words only, no picture, no landmark, no name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from agent.core.model import Analysis
from agent.core.reasons import FrameReason

MOST_FRAMES = 4_000  # a minute at 60 frames a second; later ones only count


@dataclass(frozen=True, slots=True)
class FrameEntry:
    after_ms: int  # since the request arrived
    reason: FrameReason
    score: float | None = None  # 0–100, None when no face was measured


@dataclass(frozen=True, slots=True)
class StageEntry:
    after_ms: int
    name: str


@dataclass(slots=True)
class FrameLog:
    """Grows while the verification runs. ``funnel`` counts every frame, ``frames`` keeps the first ones."""

    frames: list[FrameEntry] = field(default_factory=list)
    stages: list[StageEntry] = field(default_factory=list)
    funnel: Counter[FrameReason] = field(default_factory=Counter)

    def saw(self, seen: Analysis, after_ms: int) -> None:
        self.funnel[seen.reason] += 1
        if len(self.frames) < MOST_FRAMES:
            score = None if seen.quality is None else round(seen.quality.score, 1)
            self.frames.append(FrameEntry(after_ms, seen.reason, score))

    def entered(self, stage: str, after_ms: int) -> None:
        self.stages.append(StageEntry(after_ms, stage))
