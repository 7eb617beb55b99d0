"""SQL statements of the outbox, one transaction per method. For the writer thread only."""

import json
import logging
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar, get_type_hints

from agent.config import StorageConfig
from agent.core.model import Reference, Request, Result
from agent.core.ports import ClaimRecord, Clock, StoredResult
from agent.core.reasons import Decision
from agent.log import facts
from agent.messages.encode import Issued
from agent.outbox.database import OutboxIdentity, early_checkpoint

T = TypeVar("T")
Encode = Callable[[Result, Issued], bytes]

_HOUR_MS = 3_600_000
# The age within this boot is measured by the boot clock. A corrected wall clock would make all results look
# old, and a deleted claim would let a repeated request be paid for again. A result of another boot has an age
# unless the wall clock is known to be not synchronised. It can have been stored with a wrong time, so it must
# be closed.
_IS_OLD = (
    "(boot_id != :boot AND open = 0 AND settled_unix_ms < :unix_ms)"
    " OR (boot_id = :boot AND deadline_ms < :boot_ms)"
    " OR (open = 0 AND seq <= (SELECT max(seq) FROM result) - :max_results)"
)
# A request of the present epoch can arrive again at any time: without its id it would be executed twice.
_KEEP_IDS = (
    "INSERT OR REPLACE INTO forgotten SELECT till, request_id, :epoch"
    " FROM claim JOIN result USING (till, request_id)"
    " WHERE json_valid(request_json) AND json_extract(request_json, '$.epoch') = :epoch AND ("
)
_FORGET_IDS = "DELETE FROM forgotten WHERE epoch != :epoch"
_FORGOTTEN = "SELECT 1 FROM forgotten WHERE till = ? AND request_id = ?"
_FORGET_CLAIMS = "DELETE FROM claim WHERE (till, request_id) IN (SELECT till, request_id FROM result WHERE "
_FORGET_RESULTS = "DELETE FROM result WHERE "

_NEWEST_OF_OTHER_BOOTS = "SELECT max(settled_unix_ms) FROM result WHERE boot_id != ?"
_CALLS = (
    "SELECT coalesce(sum(asks), 0) FROM result"
    " WHERE CASE boot_id WHEN ? THEN deadline_ms >= ? ELSE settled_unix_ms >= ? END"
)

log = logging.getLogger(__name__)


class OutboxQueries:
    """Every method may raise ``sqlite3.Error``; a failed transaction changes nothing."""

    def __init__(
        self,
        db: sqlite3.Connection,
        config: StorageConfig,
        clock: Clock,
        boot_id: str,
        encode: Encode,
        is_synchronised: Callable[[], bool | None],
    ) -> None:
        self._db = db
        self._config = config
        self._clock = clock
        self._boot_id = boot_id
        self._encode = encode
        self._is_synchronised = is_synchronised
        self._identity = OutboxIdentity(db)

    def close(self) -> None:
        self._db.close()

    def replace_connection(self, db: sqlite3.Connection) -> None:
        """Replace the connection. Raises ``StorageError`` when ``db`` is another or an older file."""
        self._identity.check(db)
        self._db = db

    def touch(self) -> None:
        """Commit a transaction that writes one page with its present content."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        self._db.execute(f"PRAGMA user_version = {version}")

    def open_results(self) -> list[StoredResult]:
        """Results without acknowledgement, oldest first."""
        rows = self._db.execute("SELECT seq FROM result WHERE open = 1 ORDER BY seq").fetchall()
        return [stored for (seq,) in rows if (stored := self._stored_or_none(seq)) is not None]

    def _stored_or_none(self, seq: int) -> StoredResult | None:
        """Read one row: a damaged row must not hide the others."""
        try:
            return self._stored_result(
                self._db.execute("SELECT * FROM result WHERE seq = ?", (seq,)).fetchone()
            )
        except (sqlite3.OperationalError, ValueError, TypeError) as error:
            if getattr(error, "sqlite_errorcode", None) is not None:
                raise  # the disk failed, not the row: an unread row must not look like a missing one
            log.error("outbox_row_damaged", extra=facts(seq=seq, why=error))
            return None

    def close_result(self, till: str, result_id: str) -> bool:
        """False when the result was not open or belongs to another till."""
        statement = "UPDATE result SET open = 0 WHERE till = ? AND result_id = ? AND open = 1"
        with early_checkpoint(self._db):
            return self._db.execute(statement, (till, result_id)).rowcount == 1

    def find(self, till: str, request_id: str) -> ClaimRecord | None:
        key = (till, request_id)
        claim = self._db.execute("SELECT * FROM claim WHERE till = ? AND request_id = ?", key).fetchone()
        if claim is not None:
            return ClaimRecord(claim["payload_sha256"], self._result_of(till, request_id))
        forgotten = self._db.execute(_FORGOTTEN, key).fetchone() is not None
        return ClaimRecord("", None, is_forgotten=True) if forgotten else None

    def _result_of(self, till: str, request_id: str) -> StoredResult | None:
        key = (till, request_id)
        row = self._db.execute("SELECT * FROM result WHERE till = ? AND request_id = ?", key).fetchone()
        return None if row is None else self._stored_result(row)

    def claim(self, request: Request) -> None:
        now_ms = self._clock.unix_ms()
        row = (request.till, request.request_id, request.payload_sha256, _as_json(request), now_ms)
        with self._db:
            self._db.execute("INSERT INTO claim VALUES (?, ?, ?, ?, ?)", row)
        self._identity.note_claim(request.till, request.request_id)

    def settle(self, result: Result) -> StoredResult:
        request = result.request
        with self._db:
            stored = self._result_of(request.till, request.request_id)
            if stored is not None:
                return stored  # the first outcome wins
            now_ms, result_id = self._clock.unix_ms(), str(uuid.uuid4())
            is_match = result.decision is Decision.MATCH
            key, deadline_ms = (request.till, request.request_id), request.deadline_ms
            row = (result_id, *key, b"", is_match, self._boot_id, deadline_ms, now_ms, result.calls)
            inserted = self._db.execute(
                "INSERT INTO result (result_id, till, request_id, payload, is_match, boot_id, deadline_ms,"
                " settled_unix_ms, asks, open) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
                row,
            )
            seq = inserted.lastrowid or 0
            payload = self._encode(result, Issued(result_id, seq, now_ms))
            self._db.execute("UPDATE result SET payload = ? WHERE seq = ?", (payload, seq))
        self._identity.note_result(seq, result_id)
        return StoredResult(*key, result_id, seq, payload, is_match, deadline_ms)

    def _stored_result(self, row: sqlite3.Row) -> StoredResult:
        same_boot = row["boot_id"] == self._boot_id  # else the boot clock is not comparable: expired
        fields = row["till"], row["request_id"], row["result_id"], row["seq"], row["payload"]
        return StoredResult(*fields, bool(row["is_match"]), row["deadline_ms"] if same_boot else 0)

    def interrupted_requests(self) -> list[Request]:
        rows = self._db.execute(
            "SELECT till, request_id, payload_sha256, request_json"
            " FROM claim LEFT JOIN result USING (till, request_id) WHERE seq IS NULL"
        )
        requests = []
        for row in rows:
            try:
                requests.append(_from_json(row["request_json"], tuple(row)[:3]))
            except (ValueError, TypeError, KeyError) as error:
                log.error("outbox_claim_damaged", extra=facts(why=type(error).__name__))
        return requests

    def calls_within(self, period_ms: int) -> int:
        """Number of paid API calls of the results of the last ``period_ms``; rather too many than too few.

        This boot's results by the boot clock: the deadline is at most ``ttl_ms`` after the result. Those of
        other boots by the wall clock. While it is not known to be right, the newest result counts as new.
        """
        now_unix_ms = self._clock.unix_ms()
        if not self._is_synchronised():
            (newest_ms,) = self._db.execute(_NEWEST_OF_OTHER_BOOTS, (self._boot_id,)).fetchone()
            now_unix_ms = newest_ms or now_unix_ms
        parameters = (self._boot_id, self._clock.now_ms() - period_ms, now_unix_ms - period_ms)
        (asks,) = self._db.execute(_CALLS, parameters).fetchone()
        return int(asks)

    def prune(self, epoch: str) -> int:
        """Delete old records. The request ids of ``epoch``, the present one, are kept."""
        retention_ms = self._config.retention_hours * _HOUR_MS
        parameters = {
            "boot": self._boot_id,
            "unix_ms": 0 if self._is_synchronised() is False else self._clock.unix_ms() - retention_ms,
            "boot_ms": self._clock.now_ms() - retention_ms,
            "max_results": self._config.max_results,
            "epoch": epoch,
        }
        with self._db:
            self._db.execute(_FORGET_IDS, parameters)
            self._db.execute(f"{_KEEP_IDS}{_IS_OLD})", parameters)
            # with its claim: a claim without a result would look interrupted
            self._db.execute(f"{_FORGET_CLAIMS}{_IS_OLD})", parameters)
            deleted = self._db.execute(f"{_FORGET_RESULTS}{_IS_OLD}", parameters).rowcount
        if deleted:
            self._identity.read_from(self._db)
        return deleted


def _as_json(request: Request) -> str:
    """All fields that a result needs, without image bytes."""
    tree = asdict(request)
    del tree["age_ms"], tree["expires"]  # needed only when the request arrives
    tree["reference"] = {"url": request.reference.url, "sha256": request.reference.sha256}
    return json.dumps(tree)


def _from_json(text: str, key: tuple[str, str, str]) -> Request:
    """The stored request; its reference has no image bytes. ``key``: till, request id and hash of its row.

    Raises ``ValueError``, ``TypeError`` or ``KeyError`` for a damaged row, also with another type or key.
    """
    tree = json.loads(text)
    tree["reference"] = _with_checked_types(Reference(**tree["reference"]))
    tree["require"] = tuple(tree["require"])
    request = _with_checked_types(Request(**tree))
    if key != (request.till, request.request_id, request.payload_sha256):
        raise ValueError("the request differs from the key of its row")
    return request


def _with_checked_types(value: T) -> T:
    """The dataclass, if each field has its type. Raises ``TypeError``."""
    for name, kind in get_type_hints(type(value)).items():
        field = getattr(value, name)
        has_type = (
            all(isinstance(item, str) for item in field) if name == "require" else isinstance(field, kind)
        )
        if not has_type:
            raise TypeError(f"{name}: {type(field).__name__}")
    return value
