"""The database file of the outbox: schema, migration, opening, identity, moving a damaged file aside."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import StorageError, failure_at
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

FILE = "outbox.sqlite3"
PAGE_BYTES = 1_024  # a result changes eight pages: with SQLite's 4 KiB twice as much is written to the card
CHECKPOINT_PAGES = (
    500  # checkpoint: at this length SQLite copies the journal into the file and starts it anew
)
# A checkpoint needs two more fsyncs. The end of a request starts it earlier, so that its result does not
# wait; only the result of another till can wait behind it. The pages between the two limits are those of the
# open requests, about 13 each.
EARLY_CHECKPOINT_PAGES = 400


class OutboxDamaged(StorageError):
    """A page of the open file is damaged. The process ends, and the next start moves the file aside."""

    exit_code = 74  # EX_IOERR of sysexits.h


_VERSION_1 = """
CREATE TABLE claim (
    till TEXT NOT NULL,
    request_id TEXT NOT NULL,
    payload_sha256 TEXT NOT NULL,
    request_json TEXT NOT NULL,      -- without the bytes of the reference photo
    claimed_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (till, request_id)
) WITHOUT ROWID;
CREATE TABLE result (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused, even after old rows are deleted
    result_id TEXT NOT NULL UNIQUE,
    till TEXT NOT NULL,
    request_id TEXT NOT NULL,
    payload BLOB NOT NULL,
    is_match INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    deadline_ms INTEGER NOT NULL,           -- boot clock of boot_id
    settled_unix_ms INTEGER NOT NULL,
    open INTEGER NOT NULL,                  -- 1 until acknowledged or expired
    UNIQUE (till, request_id)
);
CREATE INDEX open_results ON result (seq) WHERE open = 1;
"""

_VERSION_2 = "ALTER TABLE result ADD COLUMN asks INTEGER NOT NULL DEFAULT 0;"  # paid calls

_VERSION_3 = """
CREATE TABLE forgotten (                    -- ids of deleted claims, for as long as their epoch is in use
    till TEXT NOT NULL,
    request_id TEXT NOT NULL,
    epoch TEXT NOT NULL,
    PRIMARY KEY (till, request_id)
) WITHOUT ROWID;
"""

# Step n migrates from version n to n + 1. Append new steps; never change a released step.
STEPS = (_VERSION_1, _VERSION_2, _VERSION_3)


def open_file(directory: Path, unix_ms: int) -> tuple[sqlite3.Connection, bool]:
    """(connection, whether a damaged file was moved aside). Raises ``StorageError``."""
    path = directory / FILE
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return _connect(path), False
        except sqlite3.OperationalError:
            raise  # no space, no permission: the file itself may be intact
        except sqlite3.DatabaseError as error:
            moved_to = _set_aside(path, unix_ms)
            log.error("outbox_damaged", extra=facts(why=error, set_aside=moved_to))
            return _connect(path), True
    except (OSError, sqlite3.Error) as error:
        raise StorageError(failure_at(path, error)) from error


def reopen_file(directory: Path) -> sqlite3.Connection:
    """Open the existing file again after a disk failure. Raises ``StorageError``.

    A missing file is an error, because an empty new file would lose the claims: a repeated request would be
    paid for again. A damaged file is an error; the next start moves it aside.
    """
    path = directory / FILE
    try:
        if not path.exists():
            raise StorageError(Text("detail.outbox_removed", path=path))
        return _connect(path)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(failure_at(path, error)) from error


@contextmanager
def early_checkpoint(db: sqlite3.Connection) -> Iterator[None]:
    """A transaction whose commit may also run a checkpoint: for a commit that no result waits for."""
    db.execute(f"PRAGMA wal_autocheckpoint = {EARLY_CHECKPOINT_PAGES}")
    try:
        with db:
            yield
    finally:
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


def _connect(path: Path) -> sqlite3.Connection:
    """Open and migrate. Raises ``sqlite3.DatabaseError`` (damaged), ``StorageError`` (newer version)."""
    db = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
    try:
        path.chmod(0o600)
        db.row_factory = sqlite3.Row
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # for a new file
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # a power cut loses no committed transaction
        # The journal never shrinks: with SQLite's 1 000 pages the journal alone filled a disk of 4 MiB.
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        # not quick_check: a damaged index would end each process at its first use
        (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"integrity_check: {verdict}")
        for number, step in enumerate(STEPS[version:], start=version + 1):
            db.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
        if version > len(STEPS):  # written by a newer version: its results are valid, so not "damaged"
            raise StorageError(
                Text("detail.outbox_version", path=path, version=version, known=len(STEPS)),
                fix=Text("fix.outbox_newer_than_program"),
            )
    except BaseException:
        db.close()
        raise
    return db


def _set_aside(path: Path, unix_ms: int) -> Path:
    """Rename the file and its journal with a time stamp, for a later analysis. Returns the new path."""
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(f"{path.name}.damaged-{unix_ms}{suffix}"))
    return path.with_name(f"{path.name}.damaged-{unix_ms}")


_NEWEST_CLAIM = "SELECT till, request_id FROM claim ORDER BY claimed_unix_ms DESC LIMIT 1"
_NEWEST_RESULT = "SELECT seq, result_id FROM result ORDER BY seq DESC LIMIT 1"
_CLAIM = "SELECT 1 FROM claim WHERE till = ? AND request_id = ?"
_RESULT = "SELECT 1 FROM result WHERE seq = ? AND result_id = ?"

Key = tuple[object, ...]


class OutboxIdentity:
    """The keys of the newest claim and of the newest result, which prove that a reopened file is the same.

    Another file, or an older copy, lacks them. Where a mount disappeared, a file of an earlier day can be
    present below the mount point.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._claim: Key | None = None
        self._result: Key | None = None
        self.read_from(db)

    def read_from(self, db: sqlite3.Connection) -> None:
        """Read the keys from the file: at the start, and after old rows were deleted."""
        self._claim = _first_row(db, _NEWEST_CLAIM, ())
        self._result = _first_row(db, _NEWEST_RESULT, ())

    def note_claim(self, till: str, request_id: str) -> None:
        """This claim is the newest one."""
        self._claim = (till, request_id)

    def note_result(self, seq: int, result_id: str) -> None:
        """This result is the newest one."""
        self._result = (seq, result_id)

    def check(self, db: sqlite3.Connection) -> None:
        """Raises ``StorageError`` when the newest claim or the newest result is missing in ``db``."""
        for statement, key in ((_CLAIM, self._claim), (_RESULT, self._result)):
            if key is not None and _first_row(db, statement, key) is None:
                raise StorageError(Text("detail.outbox_replaced"))


def _first_row(db: sqlite3.Connection, statement: str, values: Key) -> Key | None:
    row = db.execute(statement, values).fetchone()
    return None if row is None else tuple(row)
