"""The seven visits of the demo, each with its expected result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.kits.till.acceptance import Acceptance

EMPTY_SCENE = "empty"
TTL_MS = 6_000
EMPTY_TTL_MS = 3_000  # such a scene always ends at the deadline: a short deadline is enough


@dataclass(frozen=True, slots=True)
class Visit:
    """One row of the demo: the scene, the enrolled photo, the expected result."""

    title: str
    scene: str
    enrolled: str
    decision: str
    reason: str
    calls: int | None = None  # the expected number of API calls; None: not checked
    ttl_ms: int = TTL_MS
    service_up: bool = True


VISITS = (
    Visit("the holder walks up", "approach", "obama_podium", "match", "same_person", 1),
    Visit("another person", "one_biden_portrait", "obama_portrait", "no_match", "different_person", 1),
    Visit("no person", EMPTY_SCENE, "obama_portrait", "undecided", "no_face", 0, EMPTY_TTL_MS),
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
        result = (self.verdict.decision, self.verdict.reason)
        calls_match = self.visit.calls is None or self.visit.calls == self.calls
        return result == (self.visit.decision, self.visit.reason) and calls_match

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
