"""Guidance for the payer: a pure function of the newest analysis, with hysteresis.

A hint is displayed for at least ``HOLD_MS``, because faster changes cannot be read. A prompt to turn replaces
a hint at once, because the time to react counts from the prompt. The prompt after a prompt to turn also
replaces it at once: between two turns to the same side, the payer must receive another hint. The same hint is
published once.
"""

from dataclasses import dataclass

from agent.core.model import Analysis
from agent.core.reasons import FrameReason, Guidance
from agent.core.verification_types import Challenging, Comparing, State, Waiting

HOLD_MS = 600
_TURNS = (Guidance.TURN_LEFT, Guidance.TURN_RIGHT)

_HINTS: dict[FrameReason, Guidance] = {
    FrameReason.NO_PRESENCE: Guidance.LOOK_HERE,
    FrameReason.NO_FACE: Guidance.LOOK_HERE,
    FrameReason.MULTIPLE_FACES: Guidance.ONE_PERSON,
    FrameReason.OFF_CENTRE: Guidance.LOOK_HERE,
    FrameReason.TOO_SMALL: Guidance.COME_CLOSER,
    FrameReason.TOO_LARGE: Guidance.STEP_BACK,
    FrameReason.TURNED: Guidance.LOOK_STRAIGHT,
    FrameReason.TOO_DARK: Guidance.TOO_DARK,
    FrameReason.TOO_BRIGHT: Guidance.TOO_BRIGHT,
    FrameReason.BACKLIT: Guidance.BACKLIT,
    FrameReason.SIDE_LIT: Guidance.SIDE_LIGHT,
    FrameReason.BLURRED: Guidance.HOLD_STILL,
    FrameReason.COVERED: Guidance.REMOVE_COVER,
    FrameReason.FOLLOWED: Guidance.HOLD_STILL,
    FrameReason.SHOT: Guidance.HOLD_STILL,
}


@dataclass(frozen=True, slots=True)
class ShownHint:
    """The displayed hint and its start time. ``guidance`` is None before the first hint."""

    guidance: Guidance | None = None
    since_ms: int = 0


def prompt_of(state: State) -> Guidance | None:
    """The hint of the state, which has priority over the hint of the newest frame; None without a prompt."""
    match state:
        case Challenging():
            return state.progress.prompt
        case Comparing() | Waiting():
            return Guidance.THANK_YOU  # the shot is taken: the payer has nothing more to do
        case _:
            return None


def next_hint(
    shown: ShownHint, analysis: Analysis | None, at_ms: int, prompt: Guidance | None = None
) -> ShownHint:
    """The hint after ``analysis``; the same object without a change. ``prompt`` has priority."""
    wanted = prompt or (None if analysis is None else analysis.hint or _HINTS.get(analysis.reason))
    if wanted is None or wanted is shown.guidance:
        return shown
    is_due_at_once = wanted in _TURNS or (prompt is not None and shown.guidance in _TURNS)
    is_held = shown.guidance is not None and at_ms - shown.since_ms < HOLD_MS
    if is_held and not is_due_at_once:
        return shown
    return ShownHint(wanted, at_ms)
