"""The outbox against a model in memory, over random sequences of requests, results, boots and prunes."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.config import StorageConfig
from agent.core.model import Assurance, Reference, Request, Result, Timings
from agent.core.ports import StoredResult
from agent.core.reasons import Decision, Reason
from agent.messages.encode import Issued
from agent.outbox.database import open_file
from agent.outbox.queries import OutboxQueries
from tests.fakes import request

HOUR_MS = 3_600_000
MAX_RESULTS, RETENTION_HOURS = 3, 24
RETENTION_MS = RETENTION_HOURS * HOUR_MS
# Few ids, so that requests are repeated, and ids of different tills and epochs meet.
IDS = st.integers(0, 9).map(lambda number: f"00000000-0000-4000-8000-{number:012d}")
TILLS = st.sampled_from(["till-1", "till-2"])
Key = tuple[str, str]


@dataclass
class Clocks:
    """Boot clock and wall clock, which a boot and a technician change independently."""

    boot_ms: int = 10_000
    wall_ms: int = 1_800_000_000_000
    is_synchronised: bool | None = True

    def now_ms(self) -> int:
        return self.boot_ms

    def unix_ms(self) -> int:
        return self.wall_ms


def encode(result: Result, issued: Issued) -> bytes:
    return f"{result.decision} {issued.seq} {issued.result_id}".encode()


class OutboxModel(RuleBasedStateMachine):
    """``results`` has each result that a prune has not deleted; ``ids`` each id of the present epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.clocks, self.boot, self.epoch = Clocks(), 0, 0
        self.claims: dict[Key, Request] = {}
        self.results: dict[Key, StoredResult] = {}
        self.settled: dict[Key, tuple[int, int]] = {}  # boot, unix time
        self.closed: set[Key] = set()
        self.ids: set[Key] = set()
        self.last_seq = 0
        self.open_queries()

    def open_queries(self) -> None:
        db, is_damaged = open_file(self.folder, self.clocks.wall_ms)
        assert not is_damaged
        limits = StorageConfig.model_construct(  # fewer results than a config may have
            directory=self.folder, retention_hours=RETENTION_HOURS, max_results=MAX_RESULTS
        )
        self.queries = OutboxQueries(
            db, limits, self.clocks, f"boot-{self.boot}", encode, lambda: self.clocks.is_synchronised
        )

    def teardown(self) -> None:
        self.queries.close()
        self.stack.close()

    @rule(till=TILLS, request_id=IDS, decision=st.sampled_from(Decision), is_acknowledged=st.booleans())
    def serve(self, till: str, request_id: str, decision: Decision, is_acknowledged: bool) -> None:
        """A whole request, as most requests are."""
        key = (till, request_id)
        if self.queries.find(*key) is None:
            self.claim(till, request_id)
            self.settle(sorted(self.claims).index(key), decision)
            if is_acknowledged:
                self.close(sorted(self.results).index(key), is_own=True)

    @rule(till=TILLS, request_id=IDS)
    def claim(self, till: str, request_id: str) -> None:
        key = (till, request_id)
        new = replace(
            request(request_id), till=till, epoch=f"epoch-{self.epoch}", received_ms=self.clocks.boot_ms
        )
        new = replace(new, reference=Reference(image=b"photo", sha256="ab" * 32))
        if key in self.claims:
            with pytest.raises(sqlite3.IntegrityError):
                self.queries.claim(new)
        elif self.queries.find(*key) is None:  # otherwise the terminal refuses the request
            self.queries.claim(new)
            self.claims[key] = new
            self.ids.add(key)

    @precondition(lambda self: self.claims)
    @rule(choice=st.integers(0, 100), decision=st.sampled_from(Decision))
    def settle(self, choice: int, decision: Decision) -> None:
        key = sorted(self.claims)[choice % len(self.claims)]
        of = self.claims[key]
        reason = Reason.SAME_PERSON if decision is Decision.MATCH else Reason.TIMED_OUT
        stored = self.queries.settle(Result(of, decision, reason, 1, None, Timings(), Assurance(), calls=1))
        if key in self.results:
            assert stored.payload == self.results[key].payload, "the first outcome wins"
            return
        assert stored.seq > self.last_seq, "numbers grow, also after rows are deleted"
        assert stored.is_match is (decision is Decision.MATCH)
        self.last_seq, self.results[key] = stored.seq, stored
        self.settled[key] = self.boot, self.clocks.wall_ms

    @precondition(lambda self: self.results)
    @rule(choice=st.integers(0, 100), is_own=st.booleans())
    def close(self, choice: int, is_own: bool) -> None:
        key = sorted(self.results)[choice % len(self.results)]
        till = key[0] if is_own else "till-3"
        is_closed = self.queries.close_result(till, self.results[key].result_id)
        assert is_closed is (is_own and key not in self.closed)
        if is_closed:
            self.closed.add(key)

    @rule(hours=st.sampled_from([1, 24, 25]))
    def wait(self, hours: int) -> None:
        self.clocks.boot_ms += hours * HOUR_MS
        self.clocks.wall_ms += hours * HOUR_MS

    @rule(
        hours=st.sampled_from([0, 0, 25, -25, -30_000]),
        is_synchronised=st.sampled_from([True, True, None, False]),
    )
    def set_wall_clock(self, hours: int, is_synchronised: bool | None) -> None:
        self.clocks.wall_ms = max(5_000, self.clocks.wall_ms + hours * HOUR_MS)
        self.clocks.is_synchronised = is_synchronised

    @rule(is_boot=st.booleans())
    def restart(self, is_boot: bool) -> None:
        """A new process settles what the last one left open, as ``daemon._settle_interrupted`` does."""
        self.queries.close()
        self.epoch, self.ids = self.epoch + 1, set()
        if is_boot:
            self.boot, self.clocks.boot_ms = self.boot + 1, 10_000
        self.open_queries()
        left = {(each.till, each.request_id) for each in self.queries.interrupted_requests()}
        assert left == self.claims.keys() - self.results.keys()
        if is_boot:
            self.results = {key: replace(stored, deadline_ms=0) for key, stored in self.results.items()}

    @rule()
    def prune(self) -> None:
        """Exactly the old results are deleted, with their claims."""
        old = {key for key in self.results if self.is_old(key)}
        assert self.queries.prune(f"epoch-{self.epoch}") == len(old)
        for key in old:
            del self.results[key], self.claims[key], self.settled[key]
        self.closed -= old

    def is_old(self, key: Key) -> bool:
        """By the clock that is comparable. A result of another boot must be acknowledged."""
        boot, settled_ms = self.settled[key]
        if boot == self.boot:
            is_old = self.claims[key].deadline_ms < self.clocks.boot_ms - RETENTION_MS
        else:
            is_clock_right = self.clocks.is_synchronised is not False
            is_old = is_clock_right and settled_ms < self.clocks.wall_ms - RETENTION_MS
            is_old = is_old and key in self.closed
        newest = max(stored.seq for stored in self.results.values())
        return is_old or (key in self.closed and self.results[key].seq <= newest - MAX_RESULTS)

    @invariant()
    def each_result_is_stored_once(self) -> None:
        for key, stored in self.results.items():
            record = self.queries.find(*key)
            assert record is not None and record.result == stored
        for key in self.claims.keys() - self.results.keys():
            record = self.queries.find(*key)
            assert record is not None and record.result is None and not record.is_forgotten

    @invariant()
    def id_of_the_present_epoch_is_never_new_again(self) -> None:
        """Otherwise a repeated request is executed, and paid for, twice."""
        assert all(self.queries.find(*key) is not None for key in self.ids)

    @invariant()
    def open_results_are_complete_and_in_order(self) -> None:
        expected = [self.results[key] for key in self.results.keys() - self.closed]
        assert self.queries.open_results() == sorted(expected, key=lambda stored: stored.seq)


TestOutboxModel = OutboxModel.TestCase
TestOutboxModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
