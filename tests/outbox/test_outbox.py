"""The outbox keeps claims and results through crashes and disk failures; no image is in its files."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.config import StorageConfig
from agent.core.model import Assurance, Reference, Request, Result, Timings
from agent.core.ports import ClaimRecord
from agent.core.reasons import Decision, Reason
from agent.errors import StorageError
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import STORAGE_UNAVAILABLE
from agent.messages.encode import Issued
from agent.outbox import database, inspect
from agent.outbox import outbox as outbox_module
from agent.outbox.database import FILE
from agent.outbox.outbox import Outbox
from agent.root.background_jobs import stop_when_damaged
from tests.fakes import RealClock, request
from tests.messages.payloads import PHOTO, fresh_id

BOOT = "boot-1"
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


class ManualClock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.at_ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.at_ms

    def unix_ms(self) -> int:
        return self.at_ms


class JumpingClock(RealClock):
    """A wall clock that is set while the machine runs."""

    ahead_ms = 0

    def unix_ms(self) -> int:
        return super().unix_ms() + self.ahead_ms


class UnsetClock(RealClock):
    """The wall clock of a machine without battery clock, before the first synchronisation."""

    is_set = False

    def unix_ms(self) -> int:
        return super().unix_ms() if self.is_set else 5_000


def encode(result: Result, issued: Issued) -> bytes:
    """Different bytes at each call, as a signed result has."""
    return f"{result.decision}/{result.reason} {issued.seq} {issued.result_id}".encode()


def open_outbox(folder: Path, boot: str = BOOT, **limits: int) -> Outbox:
    return Outbox(StorageConfig(directory=folder, **limits), RealClock(), boot, encode)


def new_request(request_id: str = "") -> Request:
    return replace(request(request_id or fresh_id()), reference=Reference(image=PHOTO, sha256="ab" * 32))


def result(of: Request, decision: Decision = Decision.MATCH) -> Result:
    return Result(of, decision, Reason.SAME_PERSON, 1, None, Timings(), Assurance())


async def test_settle_stores_one_result_for_a_claim(tmp_path: Path) -> None:
    outbox, first = open_outbox(tmp_path), new_request()
    assert await outbox.find(first.till, first.request_id) is None
    await outbox.claim(first)
    known = await outbox.find(first.till, first.request_id)
    assert known is not None and known.result is None and known.payload_sha256 == first.payload_sha256
    stored = await outbox.settle(result(first))
    again = await outbox.settle(result(first, Decision.UNDECIDED))
    assert again.payload == stored.payload and again.is_match, "the first outcome wins"
    assert again.result_id == stored.result_id and stored.seq == 1
    await outbox.close()


async def test_claim_same_id_of_two_tills_is_two_requests(tmp_path: Path) -> None:
    outbox, one = open_outbox(tmp_path), new_request()
    other = replace(one, till="till-2")
    for each in (one, other):
        await outbox.claim(each)
    assert (await outbox.settle(result(one))).result_id != (await outbox.settle(result(other))).result_id
    with pytest.raises(StorageError):
        await outbox.claim(one)
    await outbox.close()


async def test_outbox_reopened_keeps_bytes_and_order(tmp_path: Path) -> None:
    first, second = new_request(), new_request()
    outbox = open_outbox(tmp_path)
    await outbox.claim(first)
    stored = await outbox.settle(result(first))
    await outbox.close()
    outbox = open_outbox(tmp_path)
    known = await outbox.find(first.till, first.request_id)
    assert known is not None and known.result == stored
    assert [each.result_id for each in await outbox.open_results()] == [stored.result_id]
    await outbox.claim(second)
    assert (await outbox.settle(result(second))).seq == 2
    await outbox.close()


async def test_open_results_after_a_reboot_have_no_deadline(tmp_path: Path) -> None:
    first, outbox = new_request(), open_outbox(tmp_path)
    await outbox.claim(first)
    assert (await outbox.settle(result(first))).deadline_ms == first.deadline_ms
    await outbox.close()
    outbox = open_outbox(tmp_path, boot="boot-2")
    (stored,) = await outbox.open_results()
    assert stored.deadline_ms == 0 and stored.is_match
    await outbox.close()


async def test_interrupted_returns_the_claim_without_image(tmp_path: Path) -> None:
    done, cut = new_request(), new_request()
    outbox = open_outbox(tmp_path)
    for each in (done, cut):
        await outbox.claim(each)
    await outbox.settle(result(done))
    await outbox.close()
    outbox = open_outbox(tmp_path)
    (left,) = await outbox.interrupted_requests()
    assert left == replace(cut, reference=Reference(sha256="ab" * 32))
    await outbox.settle(result(left, Decision.UNDECIDED))
    assert await outbox.interrupted_requests() == []
    await outbox.close()


async def test_outbox_files_contain_no_image(tmp_path: Path) -> None:
    outbox, first = open_outbox(tmp_path), new_request()
    await outbox.claim(first)
    await outbox.settle(result(first))
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert first.request_id.encode() in content, "the journal was searched too"
    assert PHOTO not in content and base64.b64encode(PHOTO) not in content
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    await outbox.close()


async def test_close_result_of_another_till_changes_nothing(tmp_path: Path) -> None:
    outbox, first = open_outbox(tmp_path), new_request()
    await outbox.claim(first)
    stored = await outbox.settle(result(first))
    assert not await outbox.close_result("till-2", stored.result_id)
    assert not await outbox.close_result(first.till, fresh_id())
    assert await outbox.close_result(first.till, stored.result_id)
    assert not await outbox.close_result(first.till, stored.result_id)
    assert await outbox.open_results() == []
    known = await outbox.find(first.till, first.request_id)
    assert known is not None and known.result == stored, "a repeated request still gets its result"
    await outbox.close()


async def test_prune_deletes_old_rows_and_seq_is_not_reused(tmp_path: Path) -> None:
    clock = ManualClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    old = replace(new_request(), received_ms=clock.at_ms)
    await outbox.claim(old)
    await outbox.settle(result(old))
    clock.at_ms += HOUR_MS + 60_000
    young = replace(new_request(), received_ms=clock.at_ms)
    await outbox.claim(young)
    assert await outbox.prune("") == 1
    assert await outbox.find(old.till, old.request_id) is None
    assert await outbox.find(young.till, young.request_id) is not None
    assert [left.request_id for left in await outbox.interrupted_requests()] == [young.request_id]
    assert (await outbox.settle(result(young))).seq == 2
    await outbox.close()


async def test_prune_keeps_a_result_until_its_retention_is_over(tmp_path: Path) -> None:
    clock = ManualClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    settled = replace(new_request(), received_ms=clock.at_ms)
    await outbox.claim(settled)
    await outbox.settle(result(settled))
    clock.at_ms = settled.deadline_ms + HOUR_MS
    assert await outbox.prune("") == 0
    clock.at_ms += 1
    assert await outbox.prune("") == 1
    await outbox.close()


async def test_prune_keeps_the_request_ids_of_the_present_epoch(tmp_path: Path) -> None:
    """A request that is repeated after the retention time, in the same epoch, is not a new request."""
    clock = ManualClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    old, earlier = (
        replace(new_request(), received_ms=clock.at_ms, epoch=epoch) for epoch in ("now", "before")
    )
    for each in (old, earlier):
        await outbox.claim(each)
        await outbox.settle(result(each))
    clock.at_ms += HOUR_MS + 60_000
    assert await outbox.prune("now") == 2
    assert await outbox.find(old.till, old.request_id) == ClaimRecord("", None, is_forgotten=True)
    assert await outbox.find(earlier.till, earlier.request_id) is None, "stale by its epoch"
    assert await outbox.interrupted_requests() == []
    assert await outbox.prune("now") == 0
    assert await outbox.find(old.till, old.request_id) == ClaimRecord("", None, is_forgotten=True)
    await outbox.prune("after the next start")
    assert await outbox.find(old.till, old.request_id) is None
    await outbox.close()


async def test_prune_after_the_first_synchronisation_deletes_nothing(tmp_path: Path) -> None:
    """Without battery clock the terminal starts in 1970; the time is set later."""
    clock = UnsetClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    fresh = new_request()
    await outbox.claim(fresh)
    await outbox.settle(result(fresh))
    clock.is_set = True
    assert await outbox.prune("") == 0
    assert await outbox.find(fresh.till, fresh.request_id) is not None
    await outbox.close()


@pytest.mark.parametrize("jump_ms", [YEAR_MS, -YEAR_MS], ids=["a year ahead", "a year back"])
async def test_prune_after_a_jump_of_the_wall_clock_deletes_nothing(tmp_path: Path, jump_ms: int) -> None:
    clock = JumpingClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    before, across = new_request(), new_request()
    await outbox.claim(before)
    first = await outbox.settle(result(before))
    await outbox.claim(across)
    clock.ahead_ms = jump_ms
    assert await outbox.prune("") == 0
    second = await outbox.settle(result(across))
    assert (first.seq, second.seq) == (1, 2)
    clock.ahead_ms = 0
    assert await outbox.prune("") == 0
    assert await outbox.open_results() == [first, second], "the deadlines are times of the boot clock"
    known = await outbox.find(before.till, before.request_id)
    assert known is not None and known.result == first
    await outbox.close()


async def test_open_results_damaged_row_hides_no_other(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    good, torn, half = new_request(), new_request(), new_request()
    for each in (good, torn, half):
        await outbox.claim(each)
    for each in (good, torn):
        await outbox.settle(result(each))
    await outbox.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE result SET till = CAST(X'FF' AS TEXT) WHERE request_id = ?", (torn.request_id,))
        db.execute("UPDATE claim SET request_json = '{' WHERE request_id = ?", (half.request_id,))
    db.close()
    outbox = open_outbox(tmp_path)
    assert [each.request_id for each in await outbox.open_results()] == [good.request_id]
    assert half.request_id not in [each.request_id for each in await outbox.interrupted_requests()]
    await outbox.close()


async def test_settle_never_copies_the_journal_into_the_file(tmp_path: Path) -> None:
    """The copy needs two more fsyncs: a result would wait for it."""
    outbox, path = open_outbox(tmp_path), tmp_path / FILE
    first = path.read_bytes()
    for _ in range(80):
        each = new_request()
        await outbox.claim(each)
        before = path.read_bytes()
        stored = await outbox.settle(result(each))
        assert path.read_bytes() == before
        assert await outbox.close_result(stored.till, stored.result_id)
    assert path.read_bytes() != first, "the end of a request copied it"
    await outbox.close()


async def test_outbox_journal_is_bounded(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    for _ in range(150):
        each = new_request()
        await outbox.claim(each)
        await outbox.settle(result(each))
    assert (tmp_path / f"{FILE}-wal").stat().st_size < 1_000_000
    await outbox.close()


async def test_prune_bounds_closed_results_and_keeps_open_ones(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path, max_results=100)
    for number in range(130):
        each = new_request()
        await outbox.claim(each)
        stored = await outbox.settle(result(each))
        if number >= 5:
            await outbox.close_result(each.till, stored.result_id)
    assert await outbox.prune("") == 25
    assert len(await outbox.open_results()) == 5
    assert await outbox.interrupted_requests() == [], "a claim is deleted with its result"
    await outbox.close()


@pytest.mark.parametrize(
    "junk", [b"junk" * 4_000, b"SQLite format 3\x00" + b"\x00" * 9_000], ids=["junk", "torn"]
)
async def test_outbox_damaged_file_is_moved_aside(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / FILE).write_bytes(junk)
    outbox = open_outbox(tmp_path)
    assert outbox.was_damaged
    (moved,) = (path for path in tmp_path.iterdir() if ".damaged-" in path.name)
    assert moved.read_bytes() == junk
    await outbox.claim(new_request())
    await outbox.close()
    assert not open_outbox(tmp_path).was_damaged


async def test_outbox_older_schema_is_migrated_with_open_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, each = open_outbox(tmp_path), new_request()
    await outbox.claim(each)
    before = await outbox.settle(result(each))
    await outbox.close()
    step = "CREATE TABLE added (x INTEGER);"
    monkeypatch.setattr(database, "STEPS", (*database.STEPS, step))
    for _ in range(2):  # nothing to migrate at the second start
        outbox = open_outbox(tmp_path)
        assert not outbox.was_damaged
        assert [stored.payload for stored in await outbox.open_results()] == [before.payload]
        await outbox.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(database.STEPS),)
        assert db.execute("SELECT count(*) FROM added").fetchone() == (0,)
    db.close()


async def test_outbox_version_2_is_migrated(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as db:
        for step in database.STEPS[:2]:
            db.executescript(step)
        db.execute("PRAGMA user_version = 2")
        row = ("till-1", "r-1", "sha", '{"epoch": "now"}', 5)
        db.execute("INSERT INTO claim VALUES (?, ?, ?, ?, ?)", row)
    db.close()
    outbox = open_outbox(tmp_path)
    assert not outbox.was_damaged
    assert await outbox.find("till-1", "r-1") == ClaimRecord("sha", None)
    assert await outbox.prune("now") == 0
    await outbox.close()


def test_outbox_newer_schema_is_refused_unchanged(tmp_path: Path) -> None:
    asyncio.run(open_outbox(tmp_path).close())
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StorageError, match="99"):
        open_outbox(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


async def test_asks_since_counts_paid_calls_after_a_restart(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    for number, (calls, reason) in enumerate([(2, Reason.SAME_PERSON), (1, Reason.INTERRUPTED)]):
        each = new_request(f"{number:08d}-0000-4000-8000-000000000000")
        await outbox.claim(each)
        await outbox.settle(replace(result(each), asks=3, calls=calls, reason=reason))
    await outbox.close()
    outbox = open_outbox(tmp_path)
    assert await outbox.calls_within(HOUR_MS) == 3, "sent calls, not attempted calls"
    assert await outbox.calls_within(-HOUR_MS) == 0
    await outbox.close()


@pytest.mark.parametrize("is_synchronised", [True, False, None])
@pytest.mark.parametrize("next_boot", [BOOT, "boot-2"])
@pytest.mark.parametrize("ahead_ms", [0, YEAR_MS, -YEAR_MS], ids=["right", "a year ahead", "a year back"])
async def test_outbox_wrong_wall_clock_at_a_start_deletes_no_open_result_and_forgets_no_calls(
    tmp_path: Path, ahead_ms: int, next_boot: str, is_synchronised: bool | None
) -> None:
    clock = JumpingClock()
    outbox = Outbox(StorageConfig(directory=tmp_path), clock, BOOT, encode)
    each, closed = new_request(), new_request()
    for one in (each, closed):
        await outbox.claim(one)
    await outbox.settle(replace(result(each, Decision.NO_MATCH), calls=1))
    done = await outbox.settle(replace(result(closed, Decision.NO_MATCH), calls=1))
    await outbox.close_result(done.till, done.result_id)
    await outbox.close()
    clock.ahead_ms = ahead_ms
    outbox = Outbox(StorageConfig(directory=tmp_path), clock, next_boot, encode, lambda: is_synchronised)
    is_right = ahead_ms == 0 or not is_synchronised or next_boot == BOOT
    assert await outbox.calls_within(24 * HOUR_MS) == (2 if is_right or ahead_ms < 0 else 0)
    await outbox.prune("epoch-2")
    assert [stored.request_id for stored in await outbox.open_results()] == [each.request_id]
    if ahead_ms <= 0 or is_synchronised is False or next_boot == BOOT:  # None: the wall clock is used
        assert await outbox.find(closed.till, closed.request_id) is not None
    await outbox.close()


async def test_outbox_page_damaged_while_open_is_not_used_again_and_the_next_start_moves_it_aside(
    tmp_path: Path,
) -> None:
    outbox = open_outbox(tmp_path)
    each = new_request()
    await outbox.claim(each)
    await outbox.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'claim'").fetchone()
    db.close()
    outbox = open_outbox(tmp_path)
    page = database.PAGE_BYTES
    before = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(before[: (root - 1) * page] + b"\xa5" * page + before[root * page :])
    outbox._queries._db.execute("PRAGMA shrink_memory")  # as when other pages replaced it in the cache
    with pytest.raises(StorageError):
        await outbox.find(each.till, each.request_id)
    assert outbox.damaged.is_set()
    with pytest.raises(database.OutboxDamaged) as ended:  # a write of another page proves nothing
        await outbox.check_writable()
    assert ended.value.exit_code == 74
    await outbox.close()
    outbox = open_outbox(tmp_path)
    assert outbox.was_damaged and not outbox.damaged.is_set()
    await outbox.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"locale": null', '"locale": 1234'),
        ('"budget_ms": 3000', '"budget_ms": "30"'),
        ('"till": "till-1"', '"till": "uill-1"'),
        ('"require": []', '"require": [1]'),
        ('"sha256"', '"sha255"'),
        ('{"request_id"', '{"request_ie"'),
    ],
)
async def test_interrupted_claim_of_another_type_is_skipped_and_hides_no_other(
    tmp_path: Path, before: str, after: str
) -> None:
    outbox = open_outbox(tmp_path)
    damaged, other = new_request(), new_request()
    for each in (damaged, other):
        await outbox.claim(each)
    await outbox.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        statement = "UPDATE claim SET request_json = replace(request_json, ?, ?) WHERE request_id = ?"
        db.execute(statement, (before, after, damaged.request_id))
        rows = db.execute("SELECT count(*) FROM claim WHERE instr(request_json, ?)", (after,)).fetchone()
        assert rows == (1,)
    db.close()
    outbox = open_outbox(tmp_path)
    assert [each.request_id for each in await outbox.interrupted_requests()] == [other.request_id]
    await outbox.close()


async def test_outbox_closed_raises(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    await outbox.close()
    await outbox.close()
    with pytest.raises(StorageError, match="closed"):
        await outbox.find("till-1", "r-1")


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from tests.outbox.test_outbox import new_request, open_outbox, result
from agent.errors import StorageError
async def main():
    outbox = open_outbox(Path(sys.argv[1]))
    first = new_request()
    await outbox.claim(first)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        await outbox.claim(new_request())
    except StorageError:
        print("refused")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await outbox.settle(result(first))
    await outbox.claim(new_request())
    print("works again")
asyncio.run(main())
"""


def test_claim_on_a_full_disk_raises_and_recovers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split("\n")[:2] == ["refused", "works again"], done.stderr


REMOVED_FILE = """
import asyncio, resource, signal, sys
from pathlib import Path
from tests.outbox.test_outbox import new_request, open_outbox
from agent.errors import StorageError
async def main():
    folder = Path(sys.argv[1])
    outbox = open_outbox(folder)
    await outbox.claim(new_request())
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        await outbox.check_writable()
    except StorageError:
        print("refused")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for path in folder.iterdir():
        path.rename(path.with_name("away-" + path.name))
    try:
        await outbox.claim(new_request())
    except StorageError as error:
        print("removed" if "removed while the agent was running" in str(error) else error)
    for path in folder.glob("away-*"):
        path.rename(path.with_name(path.name.removeprefix("away-")))
    await outbox.check_writable()
    print(len(await outbox.interrupted_requests()))
    await outbox.close()
asyncio.run(main())
"""


def test_outbox_removed_file_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    """An empty file has no claims, so a repeated request would be paid for again."""
    command = [sys.executable, "-c", REMOVED_FILE, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["refused", "removed", "1"], done.stdout + done.stderr


async def failed_disk(outbox: Outbox) -> None:
    """The state after an input/output error: the next call opens the file again."""
    outbox._queries.close()
    outbox._is_file_lost = True


def replace_files(folder: Path, aside: Path, *, back: Path | None = None) -> None:
    """The mount disappeared: the files of ``back``, if any, are visible in its place."""
    for path in folder.glob(f"{FILE}*"):
        path.rename(aside / path.name)
    for path in back.glob(f"{FILE}*") if back is not None else ():
        shutil.copy(path, folder)


@pytest.mark.parametrize("below", ["an empty file", "another file", "an older copy"])
async def test_outbox_replaced_file_raises_until_the_mount_is_back(tmp_path: Path, below: str) -> None:
    """The other file lacks claims of paid requests."""
    folder, aside, other = tmp_path / "state", tmp_path / "aside", tmp_path / "other"
    for each in (folder, aside, other):
        each.mkdir()
    outbox = open_outbox(folder)
    early, paid = new_request(), new_request()
    await outbox.claim(early)
    await outbox.settle(result(early))
    if below == "an older copy":
        with sqlite3.connect(folder / FILE) as source, sqlite3.connect(other / FILE) as copy:
            source.backup(copy)
        source.close()
        copy.close()
    elif below == "another file":
        second = open_outbox(other)
        await second.claim(new_request())
        await second.close()
    else:
        (other / FILE).touch()
    await outbox.claim(paid)
    stored = await outbox.settle(result(paid))
    await failed_disk(outbox)
    replace_files(folder, aside, back=other)
    for _ in range(2):
        with pytest.raises(StorageError, match="another or an older file"):
            await outbox.find(paid.till, paid.request_id)
        with pytest.raises(StorageError, match="another or an older file"):
            await outbox.check_writable()
    for path in folder.glob(f"{FILE}*"):
        path.unlink()
    replace_files(folder, other, back=aside)
    known = await outbox.find(paid.till, paid.request_id)
    assert known is not None and known.result == stored, "the mount is back"
    await outbox.close()


async def test_outbox_pruned_file_is_accepted_after_a_disk_failure(tmp_path: Path) -> None:
    clock = ManualClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    old = new_request()
    await outbox.claim(old)
    await outbox.settle(result(old))
    clock.at_ms += 100 * YEAR_MS
    assert await outbox.prune("") == 1
    await failed_disk(outbox)
    await outbox.check_writable()
    await outbox.close()


async def test_find_damaged_row_raises_storage_error(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    torn = new_request()
    await outbox.claim(torn)
    await outbox.settle(result(torn))
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE result SET result_id = CAST(X'FF' AS TEXT)")
    db.close()
    with pytest.raises(StorageError):
        await outbox.find(torn.till, torn.request_id)
    await outbox.close()


OPEN_AND_CLOSE = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("SELECT count(*) FROM claim").fetchone()
db.close()
"""


READ_IDS = """
import sqlite3, sys
print(*[each for (each,) in sqlite3.connect(sys.argv[1]).execute("SELECT request_id FROM claim")])
"""


def run_python(program: str, path: Path) -> str:
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


async def test_inspect_by_the_agent_keeps_its_locks(tmp_path: Path) -> None:
    """Without the locks a second program that closes the file would delete the journal in use."""
    outbox = open_outbox(tmp_path)
    await outbox.claim(new_request())
    assert inspect.inspect_outbox(tmp_path) is not None
    await asyncio.to_thread(run_python, OPEN_AND_CLOSE, tmp_path / FILE)
    paid = new_request()
    await outbox.claim(paid)
    found = await asyncio.to_thread(run_python, READ_IDS, tmp_path / FILE)
    assert paid.request_id in found, "durable: a new connection reads the claim"
    await outbox.close()


CRASH = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.outbox.test_outbox import new_request, open_outbox, result
async def main():
    outbox = open_outbox(Path(sys.argv[1]))
    first = new_request()
    await outbox.claim(first)
    if sys.argv[2] == "settled":
        await outbox.settle(result(first))
    print(first.request_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.parametrize("point", ["claimed", "settled"])
def test_outbox_sigkill_keeps_committed_data(tmp_path: Path, point: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(tmp_path), point],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    request_id = done.stdout.strip()

    async def read() -> tuple[list[str], list[str]]:
        outbox = open_outbox(tmp_path)
        rows = await outbox.interrupted_requests(), await outbox.open_results()
        await outbox.close()
        return [each.request_id for each in rows[0]], [each.request_id for each in rows[1]]

    interrupted, results = asyncio.run(read())
    assert (interrupted, results) == (([request_id], []) if point == "claimed" else ([], [request_id]))


async def test_agent_stops_when_a_page_of_its_outbox_is_damaged(tmp_path: Path) -> None:
    outbox, stop = open_outbox(tmp_path), asyncio.Event()
    conditions = ConditionTracker(RealClock().now_ms)
    handle: Any = SimpleNamespace(outbox=outbox, terminal=SimpleNamespace(conditions=conditions))
    watching = asyncio.create_task(stop_when_damaged(handle, stop))
    await asyncio.sleep(0)
    assert not stop.is_set()
    outbox.damaged.set()
    await watching
    assert stop.is_set() and STORAGE_UNAVAILABLE in conditions.active
    await outbox.close()


async def test_outbox_slow_writes_are_reset_by_a_fast_claim_not_by_one_fast_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check writes one page of an idle disk. The disk can be slow for each payment, and the check fast."""
    outbox = open_outbox(tmp_path)
    monkeypatch.setattr(outbox_module, "SLOW_S", 0.0)
    for _ in range(3):
        await outbox.claim(new_request())
    assert outbox.slow_writes == 3
    monkeypatch.setattr(outbox_module, "SLOW_S", 600.0)
    for _ in range(outbox_module._FAST_CHECKS_MIN - 1):
        await outbox.check_writable()
    assert outbox.slow_writes == 3
    await outbox.check_writable()
    assert outbox.slow_writes == 0, "a terminal without payments"
    monkeypatch.setattr(outbox_module, "SLOW_S", 0.0)
    await outbox.check_writable()
    monkeypatch.setattr(outbox_module, "SLOW_S", 600.0)
    await outbox.claim(new_request())
    assert outbox.slow_writes == 0
    await outbox.close()
