"""The outbox: durable claims and results in one SQLite file. Implements ``core.ports.Ledger``.

WAL with ``synchronous=FULL``: a method returns when the disk has it. One writer thread owns the connection,
so the asyncio loop never waits for a disk. A claim without a result is what a crash leaves; ``interrupted``
finds it. No picture is ever written here.
"""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.config import StorageConfig
from agent.core.model import Request, Result
from agent.core.ports import Claimed, Clock, StoredResult
from agent.core.reasons import Decision
from agent.errors import StorageError
from agent.till.outbox_file import open_file
from agent.till.records import as_json, from_json
from agent.till.writing import Issued

T = TypeVar("T")
Encode = Callable[[Result, Issued], bytes]

_HOUR_MS = 3_600_000


class Outbox:
    """Every method may raise ``StorageError``; what was stored before stays stored.

    Attributes:
        was_damaged: a damaged file was found and set aside when this one was opened.
    """

    def __init__(self, config: StorageConfig, clock: Clock, boot_id: str, encode: Encode) -> None:
        """Open or make the file in ``config.directory``. ``encode`` makes a result's bytes, once."""
        self._db, self.was_damaged = open_file(config.directory, clock.unix_ms())
        self._config = config
        self._clock = clock
        self._boot_id = boot_id
        self._encode = encode
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._closed = False

    async def close(self) -> None:
        """Wait for the writer, then close the file. Safe to call twice."""
        if not self._closed:
            await self._run(self._db.close)
            self._closed = True
            self._writer.shutdown(wait=True)

    # --- core.ports.Ledger ------------------------------------------------------------------------

    async def find(self, till: str, request_id: str) -> Claimed | None:
        return await self._run(lambda: self._find(till, request_id))

    async def claim(self, request: Request) -> None:
        await self._run(lambda: self._claim(request))

    async def settle(self, result: Result) -> StoredResult:
        return await self._run(lambda: self._settle(result))

    # --- deliveries and upkeep --------------------------------------------------------------------

    async def interrupted(self) -> list[Request]:
        """Requests that were claimed and have no result: a crash or a power cut came between."""
        return await self._run(self._interrupted)

    async def open_results(self) -> list[StoredResult]:
        """Results that nobody has acknowledged yet, oldest first."""

        def read() -> list[StoredResult]:
            rows = self._db.execute("SELECT * FROM result WHERE open = 1 ORDER BY seq")
            return [self._stored(row) for row in rows]

        return await self._run(read)

    async def close_result(self, till: str, result_id: str) -> bool:
        """The till has it, or it has expired: never sent again by itself. False when it was not open."""

        def write() -> bool:
            statement = "UPDATE result SET open = 0 WHERE till = ? AND result_id = ? AND open = 1"
            with self._db:
                return self._db.execute(statement, (till, result_id)).rowcount == 1

        return await self._run(write)

    async def prune(self) -> int:
        """Forget what is older than the retention, and the oldest beyond the bound. How many went."""
        return await self._run(self._prune)

    # --- on the writer's thread -------------------------------------------------------------------

    async def _run(self, work: Callable[[], T]) -> T:
        """The one place where SQLite's errors become ours."""
        if self._closed:
            raise StorageError("outbox: closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, work)
        except sqlite3.Error as error:
            raise StorageError(f"outbox: {type(error).__name__}: {error}") from error

    def _find(self, till: str, request_id: str) -> Claimed | None:
        key = (till, request_id)
        claim = self._db.execute("SELECT * FROM claim WHERE till = ? AND request_id = ?", key).fetchone()
        return None if claim is None else Claimed(claim["payload_sha256"], self._result_of(till, request_id))

    def _result_of(self, till: str, request_id: str) -> StoredResult | None:
        key = (till, request_id)
        row = self._db.execute("SELECT * FROM result WHERE till = ? AND request_id = ?", key).fetchone()
        return None if row is None else self._stored(row)

    def _claim(self, request: Request) -> None:
        now_ms = self._clock.unix_ms()
        row = (request.till, request.request_id, request.payload_sha256, as_json(request), now_ms)
        with self._db:
            self._db.execute("INSERT INTO claim VALUES (?, ?, ?, ?, ?)", row)

    def _settle(self, result: Result) -> StoredResult:
        asked = result.request
        with self._db:
            known = self._result_of(asked.till, asked.request_id)
            if known is not None:
                return known  # the first outcome wins
            now_ms, result_id = self._clock.unix_ms(), str(uuid.uuid4())
            is_match = result.decision is Decision.MATCH
            row = (
                result_id,
                asked.till,
                asked.request_id,
                b"",
                is_match,
                self._boot_id,
                asked.deadline_ms,
                now_ms,
            )
            seq = self._db.execute(
                "INSERT INTO result (result_id, till, request_id, payload, is_match, boot_id, deadline_ms,"
                " settled_unix_ms, open) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)",
                row,
            ).lastrowid
            payload = self._encode(result, Issued(result_id, seq or 0, now_ms))
            self._db.execute("UPDATE result SET payload = ? WHERE seq = ?", (payload, seq))
        return StoredResult(
            asked.till, asked.request_id, result_id, seq or 0, payload, is_match, asked.deadline_ms
        )

    def _stored(self, row: sqlite3.Row) -> StoredResult:
        same_boot = row["boot_id"] == self._boot_id  # another boot's clock says nothing: its time is up
        return StoredResult(
            row["till"],
            row["request_id"],
            row["result_id"],
            row["seq"],
            row["payload"],
            bool(row["is_match"]),
            row["deadline_ms"] if same_boot else 0,
        )

    def _interrupted(self) -> list[Request]:
        rows = self._db.execute(
            "SELECT request_json FROM claim LEFT JOIN result USING (till, request_id) WHERE seq IS NULL"
        )
        return [from_json(row["request_json"]) for row in rows]

    def _prune(self) -> int:
        oldest_ms = self._clock.unix_ms() - self._config.retention_hours * _HOUR_MS
        bounds = (oldest_ms, self._config.max_results)
        with self._db:
            # with its claim, which would otherwise look like a crash's
            self._db.execute(
                "DELETE FROM claim WHERE (till, request_id) IN (SELECT till, request_id FROM result WHERE"
                " settled_unix_ms < ? OR (open = 0 AND seq <= (SELECT max(seq) FROM result) - ?))",
                bounds,
            )
            return self._db.execute(
                "DELETE FROM result WHERE"
                " settled_unix_ms < ? OR (open = 0 AND seq <= (SELECT max(seq) FROM result) - ?)",
                bounds,
            ).rowcount
