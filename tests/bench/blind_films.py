"""Films of turns that were made without knowledge of the prompts, as the yaw of the head in degrees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from agent.core.verification_types import State

DEGREES = (36.0, 50.0)  # of a turn
LONGEST_MS = 9_000  # of a verification


def minimum_jerk(share: float) -> float:
    """The share of the way for a share of the time, of a motion with minimum jerk."""
    share = min(1.0, max(0.0, share))
    return 10 * share**3 - 15 * share**4 + 6 * share**5


@dataclass(frozen=True)
class Film:
    """Two turns, left and right, at fixed moments: each takes 0.6 s, is held, and takes 0.6 s back."""

    begins_ms: tuple[int, int]
    hold_ms: int
    turn_ms: int = 600
    degrees: float = 43.0

    def yaw(self, _state: State, at_ms: int) -> float:
        left, right = (self._part(at_ms - begin_ms) for begin_ms in self.begins_ms)
        return self.degrees * (left - right)

    def _part(self, since_ms: int) -> float:
        back_ms = since_ms - self.turn_ms - self.hold_ms
        return minimum_jerk(since_ms / self.turn_ms) - minimum_jerk(back_ms / self.turn_ms)


@dataclass(frozen=True)
class Loop:
    """A film of a head that turns left and right in a loop, as in the suite of attacks."""

    degrees: float
    period_ms: float
    phase: float

    def yaw(self, _state: State, at_ms: int) -> float:
        wave = math.sin(2 * math.pi * at_ms / self.period_ms + self.phase)
        return self.degrees * math.copysign(min(1.0, max(0.0, abs(wave) - 0.6) * 2.5 / 0.9), wave)


class RandomTurns:
    """A film of turns to random sides, each with a random pause before it, speed and time of holding.

    ``pauses_ms``: least and longest pause. The film begins at a random moment.
    """

    def __init__(self, pauses_ms: tuple[float, float], random: Random) -> None:
        self.parts = list[tuple[float, float, float, float]]()  # begin, time for one way, holding; degrees
        at_ms = -random.uniform(0, 3_000)
        while at_ms < LONGEST_MS:
            at_ms += random.uniform(*pauses_ms)
            degrees = random.choice((-1, 1)) * random.uniform(*DEGREES)
            turn_ms, hold_ms = random.uniform(400, 900), random.uniform(100, 800)
            self.parts.append((at_ms, turn_ms, hold_ms, degrees))
            at_ms += 2 * turn_ms + hold_ms

    def yaw(self, _state: State, at_ms: int) -> float:
        return sum(
            degrees
            * (
                minimum_jerk((at_ms - begin_ms) / turn_ms)
                - minimum_jerk((at_ms - begin_ms - hold_ms) / turn_ms - 1)
            )
            for begin_ms, turn_ms, hold_ms, degrees in self.parts
        )
