"""A file that is opened again after a disk failure must hold the newest claim and the newest result."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import StorageConfig
from agent.core.model import Assurance, Request, Result, Timings
from agent.core.reasons import Decision, Reason
from agent.errors import StorageError
from agent.outbox.database import FILE, open_file, reopen_file
from agent.outbox.queries import OutboxQueries
from tests.fakes import RealClock, request
from tests.messages.payloads import fresh_id


@pytest.fixture
def queries(tmp_path: Path) -> Iterator[OutboxQueries]:
    db, _ = open_file(tmp_path, 0)
    config = StorageConfig(directory=tmp_path)
    made = OutboxQueries(db, config, RealClock(), "boot-1", lambda _result, _issued: b"payload", lambda: True)
    yield made
    made.close()


def copy_of(folder: Path) -> sqlite3.Connection:
    """A copy of the present file, opened as after a disk failure."""
    older = folder / "older"
    older.mkdir()
    for file in folder.glob(f"{FILE}*"):
        shutil.copy(file, older)
    return reopen_file(older)


def settle(queries: OutboxQueries, of: Request) -> None:
    reason = Reason.DIFFERENT_PERSON
    queries.settle(Result(of, Decision.NO_MATCH, reason, 1, None, Timings(), Assurance()))


def test_copy_without_the_newest_result_is_refused(queries: OutboxQueries, tmp_path: Path) -> None:
    """A result that is on no disk would be decided, and perhaps paid for, once more."""
    first, second = request(fresh_id()), request(fresh_id())
    for each in (first, second):
        queries.claim(each)
    settle(queries, first)
    db = copy_of(tmp_path)
    settle(queries, second)
    with pytest.raises(StorageError):
        queries.replace_connection(db)
    db.close()


def test_copy_without_the_newest_claim_is_refused(queries: OutboxQueries, tmp_path: Path) -> None:
    queries.claim(request(fresh_id()))
    db = copy_of(tmp_path)
    queries.claim(request(fresh_id()))
    with pytest.raises(StorageError):
        queries.replace_connection(db)
    db.close()


def test_complete_copy_is_used(queries: OutboxQueries, tmp_path: Path) -> None:
    claimed = request(fresh_id())
    queries.claim(claimed)
    settle(queries, claimed)
    queries.replace_connection(copy_of(tmp_path))
    assert queries.find(claimed.till, claimed.request_id) is not None
