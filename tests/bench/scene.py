"""The fixed scene of the comparison, and what is to be made of a side's calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCENE = Path(__file__).parent / "visits.toml"
FPS = 10.0
LENGTH_S = 90.0
EMPTY_S = 30.0  # nobody is there before


@dataclass(frozen=True, slots=True)
class Visit:
    """A payer is in the picture from ``from_s`` to ``to_s``; the till asks at ``asked_s``."""

    from_s: float
    to_s: float

    @property
    def asked_s(self) -> float:
        return self.from_s + 0.5


VISITS = (Visit(31.0, 40.5), Visit(47.0, 57.0), Visit(59.0, 68.0), Visit(76.0, 86.0))  # as in visits.toml


def visits_within(start_s: float, seconds: float) -> tuple[Visit, ...]:
    return tuple(visit for visit in VISITS if start_s <= visit.from_s and visit.to_s <= start_s + seconds)


def judge_calls(calls_at_s: Sequence[float], visits: Sequence[Visit]) -> tuple[int, int]:
    """(useless calls, missed visits): one call per visit is useful, and a visit without one is missed."""
    useful = sum(any(visit.from_s <= at_s <= visit.to_s for at_s in calls_at_s) for visit in visits)
    return len(calls_at_s) - useful, len(visits) - useful
