"""The outbox's file: schema, opening, setting a damaged one aside."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from agent.errors import StorageError
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

FILE = "outbox.sqlite3"
PAGE_BYTES = 1_024  # a result touches eight pages: at SQLite's 4 KiB it wrote twice as much to the card
JOURNAL_PAGES = 500  # then it is copied into the file and begun anew

_VERSION_1 = """
CREATE TABLE claim (
    till TEXT NOT NULL,
    request_id TEXT NOT NULL,
    payload_sha256 TEXT NOT NULL,
    request_json TEXT NOT NULL,      -- without the reference's picture
    claimed_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (till, request_id)
) WITHOUT ROWID;
CREATE TABLE result (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused, even when old rows are gone
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

STEPS = (
    _VERSION_1,
    _VERSION_2,
    _VERSION_3,
)  # step n leads from version n to n + 1; only ever appended to, never changed


def open_file(directory: Path, unix_ms: int) -> tuple[sqlite3.Connection, bool]:
    """(connection, whether a damaged file was set aside). Raises ``StorageError``."""
    path = directory / FILE
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return _connect(path), False
        except sqlite3.OperationalError:
            raise  # no space, no permission: the file itself may be fine
        except sqlite3.DatabaseError as error:
            aside = _set_aside(path, unix_ms)
            log.error("outbox_damaged", extra=facts(why=error, set_aside=aside))
            return _connect(path), True
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{path}: {error}") from error


def reopen_file(directory: Path) -> sqlite3.Connection:
    """While serving, after the disk failed: the file as it was, or none. Raises ``StorageError``.

    An empty new one would have a repeated request paid for again, and a damaged one is for the next start.
    """
    path = directory / FILE
    try:
        if not path.exists():
            raise StorageError(f"{path}: gone while the agent served")
        return _connect(path)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{path}: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    """Raises ``sqlite3.DatabaseError`` when the file is damaged or of a version we do not know."""
    db = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
    try:
        path.chmod(0o600)
        db.row_factory = sqlite3.Row
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # a power cut loses nothing that was answered for
        # The journal never shrinks by itself: at SQLite's 1 000 pages it alone filled a disk of 4 MiB.
        db.execute(f"PRAGMA wal_autocheckpoint = {JOURNAL_PAGES}")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"quick_check: {verdict}")
        for number, step in enumerate(STEPS[version:], start=version + 1):
            db.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
        if version > len(STEPS):  # a newer program's: its results are good, so it is not "damaged"
            raise StorageError(
                f"{path}: schema version {version}, this program knows {len(STEPS)}",
                fix=Text("fix.outbox_newer_than_program"),
            )
    except BaseException:
        db.close()
        raise
    return db


def _set_aside(path: Path, unix_ms: int) -> Path:
    """Move the file and its journal away under a name with the time, so that the back office can look."""
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(f"{path.name}.damaged-{unix_ms}{suffix}"))
    return path.with_name(f"{path.name}.damaged-{unix_ms}")
