"""Frame log of one verification: time, reason and score of each frame; no pixels, landmarks or names."""

from collections import Counter
from dataclasses import dataclass, field

from agent.core.model import Analysis
from agent.core.reasons import FrameReason

FRAMES_MAX = 4_000  # about a minute at 60 frames/s; later frames are only counted
_SHOWS_RATE_MS = 3_000


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
    """The frames and stages of one verification so far.

    ``frames_by_reason`` counts all frames; ``frames`` has the first ``FRAMES_MAX``. ``repeated``: frames that
    were not analyzed, because they repeat the last new picture. ``watched_ms``: from the first possible frame
    to the end of the verification; 0 before its end.
    """

    frames: list[FrameEntry] = field(default_factory=list)
    stages: list[StageEntry] = field(default_factory=list)
    frames_by_reason: Counter[FrameReason] = field(default_factory=Counter)
    repeated: int = 0
    watched_ms: int = 0

    def add_frame(self, analysis: Analysis, after_ms: int) -> None:
        self.frames_by_reason[analysis.reason] += 1
        if len(self.frames) < FRAMES_MAX:
            score = None if analysis.quality is None else round(analysis.quality.score, 1)
            self.frames.append(FrameEntry(after_ms, analysis.reason, score))

    def is_face_late(self, total_ms: int) -> bool:
        """Whether a frame of the second half of ``total_ms``, and all before it, show no face.

        A face that is dark, blurred or turned is not late: a fault of the terminal can be the cause.
        """
        for frame in self.frames:
            if frame.reason not in (FrameReason.NO_FACE, FrameReason.NO_PRESENCE, FrameReason.IDLE):
                return False
            if 2 * frame.after_ms > total_ms:
                return True
        return False

    def few_frames(self) -> str:
        """ "3 frames in 8000 ms" below two thirds of the slowest pace, 1 frame a second; else empty.

        Then the processor was taken or throttled. Shorter verifications than 3 s show nothing.
        """
        count = self.frames_by_reason.total() + self.repeated
        is_few = self.watched_ms >= _SHOWS_RATE_MS and 1_500 * count < self.watched_ms
        return f"{count} frames in {self.watched_ms} ms" if is_few else ""

    def add_stage(self, stage: str, after_ms: int) -> None:
        self.stages.append(StageEntry(after_ms, stage))
