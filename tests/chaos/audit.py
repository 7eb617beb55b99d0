"""The audit of a chaos run from three sources: the outbox, the tills, and the API's log of calls."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.outbox.database import FILE
from tests.chaos.disturbances import Disturbance
from tests.chaos.tills import PatientTill, SentRequest
from tests.chaos.victim import CALLS, SLOW, KillPoint

if TYPE_CHECKING:
    from tests.chaos.run import RunLog


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

    def table(self, run_log: RunLog) -> str:
        rows: list[tuple[str, object]] = [("requests", self.requests)]
        rows += [(f"… ended as {outcome}", count) for outcome, count in sorted(self.ends.items())]
        rows += [
            (f"kill -9: {point}", run_log.kills[point]) for point in KillPoint if point is not KillPoint.NONE
        ]
        rows += [("kill -9 total", run_log.kills.total())]
        rows += [(each, run_log.disturbances[each]) for each in Disturbance]
        rows += [("hostile messages sent", run_log.hostile), ("slow API answers", self.slow_answers)]
        rows += [("disk full", run_log.disk)]
        rows += [("starts refused on the full disk", run_log.starts_without_disk)]
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
    """The findings after the last agent has ended."""
    requests = {(till.name, each.request_id): each for till in tills for each in till.requests.values()}
    calls_file, slow_file = folder / CALLS, folder / SLOW
    lines = calls_file.read_text().splitlines() if calls_file.exists() else []
    calls_per_request = Counter(tuple(line.split()) for line in lines)
    without_result, undelivered = _outbox(folder / "state" / FILE, requests)
    return Findings(
        requests=len(requests),
        ends=sum((till.ends for till in tills), Counter()),
        deliveries=sum(each.results.total() for each in requests.values()),
        calls=calls_per_request.total(),
        slow_answers=len(slow_file.read_text().splitlines()) if slow_file.exists() else 0,
        claimed_without_result=without_result,
        never_delivered=undelivered,
        second_calls=sum(count - 1 for count in calls_per_request.values()),
        different_duplicates=sum(len(each.results) > 1 for each in requests.values()),
        bad_signatures=sum(till.bad_signatures for till in tills),
    )


def _outbox(path: Path, requests: dict[tuple[str, str], SentRequest]) -> tuple[int, int]:
    """(claims without a result, results that no till received and that were not withheld as expired)."""
    db = sqlite3.connect(path)
    try:
        (without_result,) = db.execute(
            "SELECT count(*) FROM claim LEFT JOIN result USING (till, request_id) WHERE seq IS NULL"
        ).fetchone()
        rows = db.execute("SELECT till, request_id, is_match FROM result").fetchall()
    finally:
        db.close()
    undelivered = 0
    for till, request_id, is_match in rows:
        each = requests[till, request_id]
        late = is_match and each.ended.result() == "expired"
        undelivered += not (each.results or late)
    return without_result, undelivered
