"""The outbox: what it holds survives; what it must not hold is not in the file."""

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

import pytest

from agent.config import StorageConfig
from agent.core.model import Assurance, Reference, Request, Result, Timings
from agent.core.ports import Claimed
from agent.core.reasons import Decision, Reason
from agent.errors import StorageError
from agent.messages.encode import Issued
from agent.outbox import database, inspect
from agent.outbox.database import FILE
from agent.outbox.outbox import Outbox
from tests.fakes import RealClock, request
from tests.messages.payloads import PHOTO, fresh_id

BOOT = "boot-1"
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


class TurnedClock:
    """A clock turned by hand."""

    def __init__(self) -> None:
        self.at_ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.at_ms

    def unix_ms(self) -> int:
        return self.at_ms


class JumpingClock(RealClock):
    """A wall clock that somebody, or a time server, moves while the machine is up."""

    ahead_ms = 0

    def unix_ms(self) -> int:
        return super().unix_ms() + self.ahead_ms


class UnsetClock(RealClock):
    """The wall clock of a machine that has just been switched on."""

    is_set = False

    def unix_ms(self) -> int:
        return super().unix_ms() if self.is_set else 5_000


def encode(result: Result, issued: Issued) -> bytes:
    """Not the same twice, as a real signature's time would make it."""
    return f"{result.decision}/{result.reason} {issued.seq} {issued.result_id}".encode()


def opened(folder: Path, boot: str = BOOT, **limits: int) -> Outbox:
    return Outbox(StorageConfig(directory=folder, **limits), RealClock(), boot, encode)


def asked(request_id: str = "") -> Request:
    made = request(request_id or fresh_id())
    return replace(made, reference=Reference(image=PHOTO, sha256="ab" * 32))


def result(of: Request, decision: Decision = Decision.MATCH) -> Result:
    return Result(of, decision, Reason.SAME_PERSON, 1, None, Timings(), Assurance())


async def test_a_claim_is_found_and_a_result_is_stored_once(tmp_path: Path) -> None:
    outbox, first = opened(tmp_path), asked()
    assert await outbox.find(first.till, first.request_id) is None
    await outbox.claim(first)
    known = await outbox.find(first.till, first.request_id)
    assert known is not None and known.result is None and known.payload_sha256 == first.payload_sha256
    stored = await outbox.settle(result(first))
    again = await outbox.settle(result(first, Decision.UNDECIDED))
    assert again.payload == stored.payload and again.is_match, "the first outcome wins"
    assert again.result_id == stored.result_id and stored.seq == 1
    await outbox.close()


async def test_the_same_request_id_of_two_tills_is_two_requests(tmp_path: Path) -> None:
    outbox, one = opened(tmp_path), asked()
    other = replace(one, till="till-2")
    for each in (one, other):
        await outbox.claim(each)
    assert (await outbox.settle(result(one))).result_id != (await outbox.settle(result(other))).result_id
    with pytest.raises(StorageError):
        await outbox.claim(one)
    await outbox.close()


async def test_bytes_and_order_survive_a_restart(tmp_path: Path) -> None:
    first, second = asked(), asked()
    outbox = opened(tmp_path)
    await outbox.claim(first)
    stored = await outbox.settle(result(first))
    await outbox.close()
    outbox = opened(tmp_path)
    known = await outbox.find(first.till, first.request_id)
    assert known is not None and known.result == stored
    assert [each.result_id for each in await outbox.open_results()] == [stored.result_id]
    await outbox.claim(second)
    assert (await outbox.settle(result(second))).seq == 2
    await outbox.close()


async def test_another_boots_clock_says_nothing_about_a_deadline(tmp_path: Path) -> None:
    first, outbox = asked(), opened(tmp_path)
    await outbox.claim(first)
    assert (await outbox.settle(result(first))).deadline_ms == first.deadline_ms
    await outbox.close()
    outbox = opened(tmp_path, boot="boot-2")
    (left,) = await outbox.open_results()
    assert left.deadline_ms == 0 and left.is_match
    await outbox.close()


async def test_what_a_crash_left_is_found_without_its_picture(tmp_path: Path) -> None:
    done, cut = asked(), asked()
    outbox = opened(tmp_path)
    for each in (done, cut):
        await outbox.claim(each)
    await outbox.settle(result(done))
    await outbox.close()
    outbox = opened(tmp_path)
    (left,) = await outbox.interrupted()
    assert left == replace(cut, reference=Reference(sha256="ab" * 32))
    await outbox.settle(result(left, Decision.UNDECIDED))
    assert await outbox.interrupted() == []
    await outbox.close()


async def test_no_picture_is_in_any_file(tmp_path: Path) -> None:
    outbox, first = opened(tmp_path), asked()
    await outbox.claim(first)
    await outbox.settle(result(first))
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert first.request_id.encode() in kept, "the journal is among what was searched"
    assert PHOTO not in kept and base64.b64encode(PHOTO) not in kept
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    await outbox.close()


async def test_an_acknowledged_result_is_closed_by_its_own_till_only(tmp_path: Path) -> None:
    outbox, first = opened(tmp_path), asked()
    await outbox.claim(first)
    stored = await outbox.settle(result(first))
    assert not await outbox.close_result("till-2", stored.result_id)
    assert not await outbox.close_result(first.till, fresh_id())
    assert await outbox.close_result(first.till, stored.result_id)
    assert not await outbox.close_result(first.till, stored.result_id)
    assert await outbox.open_results() == []
    known = await outbox.find(first.till, first.request_id)
    assert known is not None and known.result == stored, "a repeat still finds its answer"
    await outbox.close()


async def test_old_rows_go_and_numbers_never_come_again(tmp_path: Path) -> None:
    clock = TurnedClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    old = replace(asked(), received_ms=clock.at_ms)
    await outbox.claim(old)
    await outbox.settle(result(old))
    clock.at_ms += HOUR_MS + 60_000
    young = replace(asked(), received_ms=clock.at_ms)
    await outbox.claim(young)
    assert await outbox.prune() == 1
    assert await outbox.find(old.till, old.request_id) is None
    assert await outbox.find(young.till, young.request_id) is not None
    assert [left.request_id for left in await outbox.interrupted()] == [young.request_id]
    assert (await outbox.settle(result(young))).seq == 2
    await outbox.close()


async def test_the_ids_of_the_present_epoch_outlive_their_records(tmp_path: Path) -> None:
    """The same bytes after the retention are not a new request, as long as their epoch is in use."""
    clock = TurnedClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    old, earlier = (replace(asked(), received_ms=clock.at_ms, epoch=epoch) for epoch in ("now", "before"))
    for each in (old, earlier):
        await outbox.claim(each)
        await outbox.settle(result(each))
    clock.at_ms += HOUR_MS + 60_000
    assert await outbox.prune("now") == 2
    assert await outbox.find(old.till, old.request_id) == Claimed("", None, forgotten=True)
    assert await outbox.find(earlier.till, earlier.request_id) is None, "its epoch alone makes it stale"
    assert await outbox.interrupted() == []
    assert await outbox.prune("now") == 0
    assert await outbox.find(old.till, old.request_id) == Claimed("", None, forgotten=True)
    await outbox.prune("after the next start")
    assert await outbox.find(old.till, old.request_id) is None
    await outbox.close()


async def test_a_clock_that_is_set_right_makes_nothing_old(tmp_path: Path) -> None:
    """No battery clock: the terminal starts in 1970, and the time comes later."""
    clock = UnsetClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    fresh = asked()
    await outbox.claim(fresh)
    await outbox.settle(result(fresh))
    clock.is_set = True
    assert await outbox.prune() == 0
    assert await outbox.find(fresh.till, fresh.request_id) is not None
    await outbox.close()


@pytest.mark.parametrize("jump_ms", [YEAR_MS, -YEAR_MS], ids=["a year ahead", "a year back"])
async def test_a_wall_clock_that_jumps_by_a_year_forgets_nothing(tmp_path: Path, jump_ms: int) -> None:
    clock = JumpingClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    before, across = asked(), asked()
    await outbox.claim(before)
    first = await outbox.settle(result(before))
    await outbox.claim(across)
    clock.ahead_ms = jump_ms
    assert await outbox.prune() == 0
    second = await outbox.settle(result(across))
    assert (first.seq, second.seq) == (1, 2)
    clock.ahead_ms = 0
    assert await outbox.prune() == 0
    assert await outbox.open_results() == [first, second], "with the deadlines they had: of the boot clock"
    known = await outbox.find(before.till, before.request_id)
    assert known is not None and known.result == first
    await outbox.close()


async def test_a_damaged_row_hides_no_other(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    good, torn, half = asked(), asked(), asked()
    for each in (good, torn, half):
        await outbox.claim(each)
    for each in (good, torn):
        await outbox.settle(result(each))
    await outbox.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE result SET till = CAST(X'FF' AS TEXT) WHERE request_id = ?", (torn.request_id,))
        db.execute("UPDATE claim SET request_json = '{' WHERE request_id = ?", (half.request_id,))
    db.close()
    outbox = opened(tmp_path)
    assert [each.request_id for each in await outbox.open_results()] == [good.request_id]
    assert half.request_id not in [each.request_id for each in await outbox.interrupted()]
    await outbox.close()


async def test_the_journal_stays_small(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    for _ in range(150):
        each = asked()
        await outbox.claim(each)
        await outbox.settle(result(each))
    assert (tmp_path / f"{FILE}-wal").stat().st_size < 1_000_000
    await outbox.close()


async def test_the_number_of_closed_results_is_bounded_but_open_ones_stay(tmp_path: Path) -> None:
    outbox = opened(tmp_path, max_results=100)
    for number in range(130):
        each = asked()
        await outbox.claim(each)
        stored = await outbox.settle(result(each))
        if number >= 5:
            await outbox.close_result(each.till, stored.result_id)
    assert await outbox.prune() == 25
    assert len(await outbox.open_results()) == 5
    assert await outbox.interrupted() == [], "a pruned result takes its claim along"
    await outbox.close()


@pytest.mark.parametrize(
    "junk", [b"junk" * 4_000, b"SQLite format 3\x00" + b"\x00" * 9_000], ids=["junk", "torn"]
)
async def test_a_damaged_file_is_set_aside_and_a_new_one_serves(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / FILE).write_bytes(junk)
    outbox = opened(tmp_path)
    assert outbox.was_damaged
    (aside,) = (path for path in tmp_path.iterdir() if ".damaged-" in path.name)
    assert aside.read_bytes() == junk
    await outbox.claim(asked())
    await outbox.close()
    assert not opened(tmp_path).was_damaged


async def test_an_older_versions_file_is_carried_over_with_what_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, each = opened(tmp_path), asked()
    await outbox.claim(each)
    before = await outbox.settle(result(each))
    await outbox.close()
    more = "CREATE TABLE tomorrow (x INTEGER);"
    monkeypatch.setattr(database, "STEPS", (*database.STEPS, more))
    for _ in range(2):  # the second time there is nothing left to do
        outbox = opened(tmp_path)
        assert not outbox.was_damaged
        assert [stored.payload for stored in await outbox.open_results()] == [before.payload]
        await outbox.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(database.STEPS),)
        assert db.execute("SELECT count(*) FROM tomorrow").fetchone() == (0,)
    db.close()


async def test_a_file_of_version_2_is_carried_over(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as db:
        for step in database.STEPS[:2]:
            db.executescript(step)
        db.execute("PRAGMA user_version = 2")
        row = ("till-1", "r-1", "sha", '{"epoch": "now"}', 5)
        db.execute("INSERT INTO claim VALUES (?, ?, ?, ?, ?)", row)
    db.close()
    outbox = opened(tmp_path)
    assert not outbox.was_damaged
    assert await outbox.find("till-1", "r-1") == Claimed("sha", None)
    assert await outbox.prune("now") == 0
    await outbox.close()


def test_a_newer_versions_file_is_refused_not_thrown_away(tmp_path: Path) -> None:
    asyncio.run(opened(tmp_path).close())
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StorageError, match="99"):
        opened(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


async def test_paid_calls_are_still_known_after_a_restart(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    for number, (calls, reason) in enumerate([(2, Reason.SAME_PERSON), (1, Reason.INTERRUPTED)]):
        each = asked(f"{number:08d}-0000-4000-8000-000000000000")
        await outbox.claim(each)
        await outbox.settle(replace(result(each), asks=3, calls=calls, reason=reason))
    await outbox.close()
    outbox = opened(tmp_path)
    assert await outbox.asks_since(0) == 3, "what was sent, not what was asked for"
    assert await outbox.asks_since(2**60) == 0
    await outbox.close()


async def test_a_closed_outbox_says_so(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    await outbox.close()
    await outbox.close()
    with pytest.raises(StorageError, match="closed"):
        await outbox.find("till-1", "r-1")


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from tests.outbox.test_outbox import asked, opened, result
from agent.errors import StorageError
async def main():
    outbox = opened(Path(sys.argv[1]))
    first = asked()
    await outbox.claim(first)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        await outbox.claim(asked())
    except StorageError:
        print("refused")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await outbox.settle(result(first))
    await outbox.claim(asked())
    print("serves again")
asyncio.run(main())
"""


def test_a_full_disk_is_an_error_of_ours_and_heals(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split("\n")[:2] == ["refused", "serves again"], done.stderr


GONE = """
import asyncio, resource, signal, sys
from pathlib import Path
from tests.outbox.test_outbox import asked, opened
from agent.errors import StorageError
async def main():
    folder = Path(sys.argv[1])
    outbox = opened(folder)
    await outbox.claim(asked())
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        await outbox.prove()
    except StorageError:
        print("refused")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for path in folder.iterdir():
        path.rename(path.with_name("away-" + path.name))
    try:
        await outbox.claim(asked())
    except StorageError as error:
        print("gone" if "gone while the agent served" in str(error) else error)
    for path in folder.glob("away-*"):
        path.rename(path.with_name(path.name.removeprefix("away-")))
    await outbox.prove()
    print(len(await outbox.interrupted()))
    await outbox.close()
asyncio.run(main())
"""


def test_a_file_that_went_with_its_disk_is_never_replaced_by_an_empty_one(tmp_path: Path) -> None:
    """A new one would not know what was asked already, and a repeat would be paid for again."""
    command = [sys.executable, "-c", GONE, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["refused", "gone", "1"], done.stdout + done.stderr


async def failed_disk(outbox: Outbox) -> None:
    """As after an input/output error: the connection is given up, the next call opens the file again."""
    outbox._store.close()
    outbox._lost = True


def laid(folder: Path, aside: Path, *, back: Path | None = None) -> None:
    """The mount vanished; in its place lies what was below it."""
    for path in folder.glob(f"{FILE}*"):
        path.rename(aside / path.name)
    for path in back.glob(f"{FILE}*") if back is not None else ():
        shutil.copy(path, folder)


@pytest.mark.parametrize("below", ["nothing in it", "of another day", "an older copy"])
async def test_another_file_in_its_place_is_not_taken_for_the_one_that_served(
    tmp_path: Path, below: str
) -> None:
    """It does not know what was paid for already."""
    folder, aside, other = tmp_path / "state", tmp_path / "aside", tmp_path / "other"
    for each in (folder, aside, other):
        each.mkdir()
    outbox = opened(folder)
    early, paid = asked(), asked()
    await outbox.claim(early)
    await outbox.settle(result(early))
    if below == "an older copy":
        with sqlite3.connect(folder / FILE) as source, sqlite3.connect(other / FILE) as copy:
            source.backup(copy)
        source.close()
        copy.close()
    elif below == "of another day":
        of_then = opened(other)
        await of_then.claim(asked())
        await of_then.close()
    else:
        (other / FILE).touch()
    await outbox.claim(paid)
    stored = await outbox.settle(result(paid))
    await failed_disk(outbox)
    laid(folder, aside, back=other)
    for _ in range(2):
        with pytest.raises(StorageError, match="another or an older file"):
            await outbox.find(paid.till, paid.request_id)
        with pytest.raises(StorageError, match="another or an older file"):
            await outbox.prove()
    for path in folder.glob(f"{FILE}*"):
        path.unlink()
    laid(folder, other, back=aside)
    known = await outbox.find(paid.till, paid.request_id)
    assert known is not None and known.result == stored, "the mount is back"
    await outbox.close()


async def test_a_file_whose_old_rows_went_is_still_the_same(tmp_path: Path) -> None:
    clock = TurnedClock()
    outbox = Outbox(StorageConfig(directory=tmp_path, retention_hours=1), clock, BOOT, encode)
    old = asked()
    await outbox.claim(old)
    await outbox.settle(result(old))
    clock.at_ms += 100 * YEAR_MS
    assert await outbox.prune() == 1
    await failed_disk(outbox)
    await outbox.prove()
    await outbox.close()


async def test_a_torn_row_that_is_asked_for_is_an_error_of_ours(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    torn = asked()
    await outbox.claim(torn)
    await outbox.settle(result(torn))
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE result SET result_id = CAST(X'FF' AS TEXT)")
    db.close()
    with pytest.raises(StorageError):
        await outbox.find(torn.till, torn.request_id)
    await outbox.close()


ANOTHER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("SELECT count(*) FROM claim").fetchone()
db.close()
"""


LOOK_AGAIN = """
import sqlite3, sys
print(*[each for (each,) in sqlite3.connect(sys.argv[1]).execute("SELECT request_id FROM claim")])
"""


def ran(program: str, path: Path) -> str:
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


async def test_the_agents_own_look_takes_no_lock_away(tmp_path: Path) -> None:
    """Else a second program that closes the file, as its last user, throws away the journal in use."""
    outbox = opened(tmp_path)
    await outbox.claim(asked())
    assert inspect.look(tmp_path) is not None
    await asyncio.to_thread(ran, ANOTHER, tmp_path / FILE)
    paid = asked()
    await outbox.claim(paid)
    found = await asyncio.to_thread(ran, LOOK_AGAIN, tmp_path / FILE)
    assert paid.request_id in found, "durable: whoever opens the file now finds it"
    await outbox.close()


CRASH = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.outbox.test_outbox import asked, opened, result
async def main():
    outbox = opened(Path(sys.argv[1]))
    first = asked()
    await outbox.claim(first)
    if sys.argv[2] == "settled":
        await outbox.settle(result(first))
    print(first.request_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.parametrize("point", ["claimed", "settled"])
def test_kill_9_loses_nothing_that_was_returned(tmp_path: Path, point: str) -> None:
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

    async def look() -> tuple[list[str], list[str]]:
        outbox = opened(tmp_path)
        found = await outbox.interrupted(), await outbox.open_results()
        await outbox.close()
        return [each.request_id for each in found[0]], [each.request_id for each in found[1]]

    interrupted, results = asyncio.run(look())
    assert (interrupted, results) == (([request_id], []) if point == "claimed" else ([], [request_id]))
