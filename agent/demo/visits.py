"""What the demo plays: seven visits, and what each must end as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.kits.till.acceptance import Acceptance

TTL_MS = 6_000
EMPTY_TTL_MS = 3_000  # a scene nobody can pass ends at the deadline: no need to wait long


@dataclass(frozen=True, slots=True)
class Visit:
    """One row of the demo: what stands there, what is enrolled, what must come out."""

    title: str
    scene: str
    enrolled: str
    decision: str
    reason: str
    calls: int | None = None  # how many calls it must cost; None: not the point
    ttl_ms: int = TTL_MS
    service_up: bool = True


VISITS = (
    Visit("the holder walks up", "approach", "obama_podium", "match", "same_person", 1),
    Visit("somebody else", "one_biden_portrait", "obama_portrait", "no_match", "different_person", 1),
    Visit("nobody", "nobody", "obama_portrait", "undecided", "no_face", 0, EMPTY_TTL_MS),
    Visit("two payers", "two_people", "obama_portrait", "undecided", "multiple_faces", 0, EMPTY_TTL_MS),
    Visit("no face on the photo", "one_obama_podium", "no_face", "undecided", "reference_unusable"),
    Visit(
        "service stopped",
        "one_obama_podium",
        "obama_portrait",
        "undecided",
        "compare_unreachable",
        0,
        service_up=False,
    ),
    Visit("service back", "one_obama_podium", "obama_portrait", "match", "same_person", 1),
)


@dataclass(frozen=True, slots=True)
class VisitRow:
    visit: Visit
    verdict: Acceptance
    calls: int

    @property
    def as_expected(self) -> bool:
        said = (self.verdict.decision, self.verdict.reason)
        paid = self.visit.calls is None or self.visit.calls == self.calls
        return said == (self.visit.decision, self.visit.reason) and paid

    def as_json(self) -> dict[str, Any]:
        return {
            "scene": self.visit.title,
            "decision": self.verdict.decision,
            "reason": self.verdict.reason,
            "similarity": self.verdict.similarity,
            "calls": self.calls,
            "total_ms": self.verdict.total_ms,
            "as_expected": self.as_expected,
        }
