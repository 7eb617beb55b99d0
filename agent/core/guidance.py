"""Which hint the payer sees: a pure function of the newest analysis, with hysteresis.

A hint stays at least ``HOLD_MS`` so that nobody is told three things in a second; the same hint is shown
(and sent) once.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.model import Analysis
from agent.core.reasons import FrameReason, Guidance
from agent.core.steps import Challenging, Comparing, State, Waiting

HOLD_MS = 600

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
    FrameReason.BLURRED: Guidance.HOLD_STILL,
    FrameReason.FOLLOWED: Guidance.HOLD_STILL,
    FrameReason.SHOT: Guidance.HOLD_STILL,
}


@dataclass(frozen=True, slots=True)
class ShownHint:
    """The hint on display, and since when. ``None``: nothing yet."""

    guidance: Guidance | None = None
    since_ms: int = 0


def prompt_of(state: State) -> Guidance | None:
    """The state's own word to the payer, which goes before what the newest frame suggests."""
    match state:
        case Challenging():
            return state.progress.prompt
        case Comparing() | Waiting():
            return Guidance.THANK_YOU  # the shot is taken: nothing more is wanted of anybody
        case _:
            return None


def next_hint(
    shown: ShownHint, seen: Analysis | None, at_ms: int, prompt: Guidance | None = None
) -> ShownHint:
    """What to show after ``seen``; the same object when nothing changes. The state's ``prompt`` leads."""
    wanted = prompt or (None if seen is None else seen.hint or _HINTS.get(seen.reason))
    if wanted is None or wanted is shown.guidance:
        return shown
    if shown.guidance is not None and at_ms - shown.since_ms < HOLD_MS:
        return shown
    return ShownHint(wanted, at_ms)
