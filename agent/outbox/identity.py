"""Check that a reopened outbox file is the file in use before: not another file, not an older copy.

Where a mount disappeared, a file of an earlier day can be present below the mount point.
"""

from __future__ import annotations

import sqlite3

from agent.errors import StorageError

_NEWEST_CLAIM = "SELECT till, request_id FROM claim ORDER BY claimed_unix_ms DESC LIMIT 1"
_NEWEST_RESULT = "SELECT seq, result_id FROM result ORDER BY seq DESC LIMIT 1"
_CLAIM = "SELECT 1 FROM claim WHERE till = ? AND request_id = ?"
_RESULT = "SELECT 1 FROM result WHERE seq = ? AND result_id = ?"

Key = tuple[object, ...]


class OutboxIdentity:
    """The keys of the newest claim and of the newest result."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._claim: Key | None = None
        self._result: Key | None = None
        self.take(db)

    def take(self, db: sqlite3.Connection) -> None:
        """Read the keys from the file: at the start, and after old rows were deleted."""
        self._claim = _row(db, _NEWEST_CLAIM, ())
        self._result = _row(db, _NEWEST_RESULT, ())

    def claimed(self, till: str, request_id: str) -> None:
        self._claim = (till, request_id)

    def settled(self, seq: int, result_id: str) -> None:
        self._result = (seq, result_id)

    def check(self, db: sqlite3.Connection) -> None:
        """Raises ``StorageError`` when the newest claim or the newest result is missing in ``db``."""
        for statement, key in ((_CLAIM, self._claim), (_RESULT, self._result)):
            if key is not None and _row(db, statement, key) is None:
                raise StorageError("outbox: the file was replaced by another or an older file")


def _row(db: sqlite3.Connection, statement: str, values: Key) -> Key | None:
    row = db.execute(statement, values).fetchone()
    return None if row is None else tuple(row)
