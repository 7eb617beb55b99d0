"""Short words for the stories of the core's tests: faces, shots and answers with sensible defaults."""

from __future__ import annotations

from dataclasses import replace

from agent.core.model import Analysis, Box, Comparison, Detection, Frame, Landmarks, Point, Quality, Shot
from agent.core.reasons import Continuity, FrameReason
from agent.core.steps import CallAnswered, Event, Finished, FrameAnalyzed, Limits, State, Step
from agent.core.verification import advance, begin

NAN = float("nan")
DEADLINE_MS = 8_000

FACE = Detection(
    Box(500.0, 200.0, 200.0, 260.0),
    Landmarks(
        Point(550.0, 300.0),
        Point(650.0, 300.0),
        Point(600.0, 350.0),
        Point(560.0, 400.0),
        Point(640.0, 400.0),
    ),
    0.95,
)


def even(score: float) -> Quality:
    """A face of which every measure is the same."""
    return Quality(*[score] * 11)


def shot(at_ms: int, score: float = 60.0, track: int = 1) -> Shot:
    frame = Frame(pixels=None, seq=at_ms, captured_ms=at_ms, width_px=1280, height_px=720)
    return Shot(frame, FACE, even(score), track)


def saw_shot(at_ms: int, score: float = 60.0, track: int = 1) -> FrameAnalyzed:
    good = shot(at_ms, score, track)
    return FrameAnalyzed(at_ms, _seen(at_ms, FrameReason.SHOT, FACE, track, good.quality, good))


def saw(
    at_ms: int, reason: FrameReason, track: int | None = None, quality: Quality | None = None
) -> FrameAnalyzed:
    return FrameAnalyzed(at_ms, _seen(at_ms, reason, FACE if track is not None else None, track, quality))


def _seen(
    at_ms: int,
    reason: FrameReason,
    face: Detection | None,
    track: int | None,
    quality: Quality | None,
    best: Shot | None = None,
) -> Analysis:
    return Analysis(
        at_ms,
        at_ms,
        reason,
        face,
        track,
        quality,
        best,
        frame_width_px=1280,
        frame_height_px=720,
        continuity=Continuity.SAME if track == 1 else Continuity.OTHER,
    )


def unknown(looked: FrameAnalyzed, track: int | None) -> FrameAnalyzed:
    """The frame with a face that no embedding placed: on a new track, or on none yet."""
    seen, best = looked.analysis, looked.analysis.shot
    if best is not None:
        best = None if track is None else replace(best, track=track)
    return replace(
        looked, analysis=replace(seen, face=FACE, track=track, shot=best, continuity=Continuity.UNKNOWN)
    )


def answered(at_ms: int, ask: int, comparison: Comparison) -> list[Event]:
    """An answer while the payer of track 1 is in sight."""
    return [saw(at_ms - 50, FrameReason.FOLLOWED, 1, even(60.0)), CallAnswered(at_ms, ask, comparison)]


def answer(similarity: float, threshold: float = 80.0) -> Comparison:
    return Comparison(similarity, threshold, "test")


def play(story: list[Event], limits: Limits | None = None) -> list[Step]:
    """Every step of a story, the first one for its first event."""
    limits = limits or Limits()
    state: State = begin(DEADLINE_MS)
    steps: list[Step] = []
    for event in story:
        step = advance(state, event, limits)
        steps.append(step)
        state = step[0]
    return steps


def ending(story: list[Event], limits: Limits | None = None) -> tuple[str, str]:
    """Decision and reason a story ends with; ``("open", state name)`` when it does not end."""
    last = play(story, limits)[-1][0]
    if isinstance(last, Finished):
        return last.decision.value, last.reason.value
    return "open", type(last).__name__
