"""The fixed scene of the comparison, and the evaluation of the API calls of one side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCENE = Path(__file__).parent / "visits.toml"
FPS = 10.0
LENGTH_S = 90.0
EMPTY_S = 30.0  # the scene is empty before


@dataclass(frozen=True, slots=True)
class Visit:
    """A payer is in the image from ``from_s`` to ``to_s``; the till sends its request at ``request_s``."""

    from_s: float
    to_s: float

    @property
    def request_s(self) -> float:
        return self.from_s + 0.5


VISITS = (Visit(31.0, 40.5), Visit(47.0, 57.0), Visit(59.0, 68.0), Visit(76.0, 86.0))  # as in visits.toml


def visits_within(start_s: float, seconds: float) -> tuple[Visit, ...]:
    return tuple(visit for visit in VISITS if start_s <= visit.from_s and visit.to_s <= start_s + seconds)


def judge_calls(calls_at_s: Sequence[float], visits: Sequence[Visit]) -> tuple[int, int]:
    """(useless calls, missed visits). One call per visit is useful; a visit without a call is missed."""
    useful = sum(any(visit.from_s <= at_s <= visit.to_s for at_s in calls_at_s) for visit in visits)
    return len(calls_at_s) - useful, len(visits) - useful
