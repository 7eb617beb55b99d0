"""Helpers of the core's tests: faces, shots, events and answers with default values."""

from __future__ import annotations

from dataclasses import replace

from agent.core.model import Analysis, Box, Comparison, Detection, Frame, Landmarks, Point, Quality, Shot
from agent.core.reasons import Continuity, FrameReason
from agent.core.verification import advance, begin
from agent.core.verification_types import CallAnswered, Event, Finished, FrameAnalyzed, Limits, State, Step

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
    """A quality with the same value for every measure."""
    return Quality(*[score] * 11)


def shot(at_ms: int, score: float = 60.0, track: int = 1) -> Shot:
    frame = Frame(pixels=None, seq=at_ms, captured_ms=at_ms, width_px=1280, height_px=720)
    return Shot(frame, FACE, even(score), track)


def shot_event(at_ms: int, score: float = 60.0, track: int = 1) -> FrameAnalyzed:
    good = shot(at_ms, score, track)
    return FrameAnalyzed(at_ms, _analysis(at_ms, FrameReason.SHOT, FACE, track, good.quality, good))


def frame_event(
    at_ms: int, reason: FrameReason, track: int | None = None, quality: Quality | None = None
) -> FrameAnalyzed:
    return FrameAnalyzed(at_ms, _analysis(at_ms, reason, FACE if track is not None else None, track, quality))


def _analysis(
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


def unknown(analyzed: FrameAnalyzed, track: int | None) -> FrameAnalyzed:
    """The frame with an unknown face: on a new track, or without a track yet."""
    analysis, best = analyzed.analysis, analyzed.analysis.shot
    if best is not None:
        best = None if track is None else replace(best, track=track)
    return replace(
        analyzed, analysis=replace(analysis, face=FACE, track=track, shot=best, continuity=Continuity.UNKNOWN)
    )


def answered(at_ms: int, ask: int, comparison: Comparison) -> list[Event]:
    """An answer while track 1 is unbroken."""
    return [
        frame_event(at_ms - 50, FrameReason.FOLLOWED, 1, even(60.0)),
        CallAnswered(at_ms, ask, comparison),
    ]


def answer(similarity: float, threshold: float = 80.0) -> Comparison:
    return Comparison(similarity, threshold, "test")


def asks_of(state: State) -> int:
    """The number of API calls that were started."""
    return state.asks if isinstance(state, Finished) else state.context.asks


def play(scenario: list[Event], limits: Limits | None = None) -> list[Step]:
    """Every step of a series of events, in order."""
    limits = limits or Limits()
    state: State = begin(DEADLINE_MS)
    steps: list[Step] = []
    for event in scenario:
        step = advance(state, event, limits)
        steps.append(step)
        state = step[0]
    return steps


def ending(scenario: list[Event], limits: Limits | None = None) -> tuple[str, str]:
    """Decision and reason at the end of the events; ``("open", state name)`` without an end."""
    last = play(scenario, limits)[-1][0]
    if isinstance(last, Finished):
        return last.decision.value, last.reason.value
    return "open", type(last).__name__
