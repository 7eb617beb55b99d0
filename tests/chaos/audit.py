"""What a chaos run must not have done, counted from three sides: outbox, tills, and the API's bill."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.outbox.database import FILE
from tests.chaos.blows import Blow
from tests.chaos.tills import Asked, PatientTill
from tests.chaos.victim import CALLS, SLOW, Point

if TYPE_CHECKING:
    from tests.chaos.run import Toll


@dataclass(frozen=True)
class Findings:
    """Every number after ``slow_answers`` must be 0."""

    requests: int
    ends: Counter[str]
    deliveries: int
    calls: int
    slow_answers: int
    claimed_without_result: int
    never_delivered: int
    second_calls: int
    different_duplicates: int
    bad_signatures: int

    @property
    def clean(self) -> bool:
        bad = (self.claimed_without_result, self.never_delivered, self.second_calls)
        return not any((*bad, self.different_duplicates, self.bad_signatures, self.ends["lost"]))

    def table(self, toll: Toll) -> str:
        rows: list[tuple[str, object]] = [("requests", self.requests)]
        rows += [(f"… ended as {how}", count) for how, count in sorted(self.ends.items())]
        rows += [(f"kill -9: {point}", toll.kills[point]) for point in Point if point is not Point.NONE]
        rows += [("kill -9 in all", toll.kills.total())]
        rows += [(blow, toll.blows[blow]) for blow in Blow]
        rows += [("hostile messages sent", toll.hostile), ("slow API answers", self.slow_answers)]
        rows += [("disk full", toll.disk)]
        rows += [("starts refused while it was full", toll.starts_without_disk)]
        rows += [("results received, repeats included", self.deliveries), ("API calls", self.calls)]
        rows += [
            ("claimed without a result", self.claimed_without_result),
            ("results never delivered", self.never_delivered),
            ("requests given up by a till", self.ends["lost"]),
            ("second API calls for one request", self.second_calls),
            ("duplicates with other bytes", self.different_duplicates),
            ("invalid signatures", self.bad_signatures),
        ]
        return "\n".join(f"{name:<40} {value}" for name, value in rows)


def audit(folder: Path, tills: list[PatientTill]) -> Findings:
    """Look at everything once the last agent is gone."""
    asked = {(till.name, each.request_id): each for till in tills for each in till.asked.values()}
    calls_file, slow_file = folder / CALLS, folder / SLOW
    lines = calls_file.read_text().splitlines() if calls_file.exists() else []
    bill = Counter(tuple(line.split()) for line in lines)
    orphans, undelivered = _outbox(folder / "state" / FILE, asked)
    return Findings(
        requests=len(asked),
        ends=sum((till.ends for till in tills), Counter()),
        deliveries=sum(each.results.total() for each in asked.values()),
        calls=bill.total(),
        slow_answers=len(slow_file.read_text().splitlines()) if slow_file.exists() else 0,
        claimed_without_result=orphans,
        never_delivered=undelivered,
        second_calls=sum(count - 1 for count in bill.values()),
        different_duplicates=sum(len(each.results) > 1 for each in asked.values()),
        bad_signatures=sum(till.bad_signatures for till in tills),
    )


def _outbox(path: Path, asked: dict[tuple[str, str], Asked]) -> tuple[int, int]:
    """(claims without a result, results that no till has and that were not withheld as expired)."""
    db = sqlite3.connect(path)
    try:
        (orphans,) = db.execute(
            "SELECT count(*) FROM claim LEFT JOIN result USING (till, request_id) WHERE seq IS NULL"
        ).fetchone()
        rows = db.execute("SELECT till, request_id, is_match FROM result").fetchall()
    finally:
        db.close()
    undelivered = 0
    for till, request_id, is_match in rows:
        each = asked[till, request_id]
        late = is_match and each.ended.result() == "expired"
        undelivered += not (each.results or late)
    return orphans, undelivered
