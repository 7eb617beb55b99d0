"""The outbox: durable claims and results in one SQLite file. Implements ``core.ports.Ledger``.

WAL with ``synchronous=FULL``: a method returns when the disk has it. One writer thread owns the connection,
so the asyncio loop never waits for a disk. A claim without a result is what a crash leaves; ``interrupted``
finds it. A disk that failed may come back: then the file is opened again. No picture is ever written here.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.config import StorageConfig
from agent.core.model import Request, Result
from agent.core.ports import Claimed, Clock, StoredResult
from agent.errors import StorageError
from agent.outbox.database import open_file, reopen_file
from agent.outbox.queries import Encode, OutboxQueries

T = TypeVar("T")

# After these a connection may never work again, even when the disk does: another one is mounted in its place.
_DISK_FAILED = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
_PRIMARY = 0xFF  # of SQLite's extended result codes


class Outbox:
    """Every method may raise ``StorageError``; what was stored before stays stored.

    Attributes:
        was_damaged: a damaged file was found and set aside when this one was opened.
    """

    def __init__(self, config: StorageConfig, clock: Clock, boot_id: str, encode: Encode) -> None:
        """Open or make the file in ``config.directory``. ``encode`` makes a result's bytes, once."""
        self._directory, self._lost = config.directory, False
        db, self.was_damaged = open_file(config.directory, clock.unix_ms())
        self._store = OutboxQueries(db, config, clock, boot_id, encode)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._closed = False

    async def close(self) -> None:
        """Wait for the writer, then close the file. Safe to call twice."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._writer, self._store.close)
            self._writer.shutdown(wait=True)

    # --- core.ports.Ledger ------------------------------------------------------------------------

    async def find(self, till: str, request_id: str) -> Claimed | None:
        return await self._run(lambda: self._store.find(till, request_id))

    async def claim(self, request: Request) -> None:
        await self._run(lambda: self._store.claim(request))

    async def settle(self, result: Result) -> StoredResult:
        return await self._run(lambda: self._store.settle(result))

    # --- deliveries and upkeep --------------------------------------------------------------------

    async def interrupted(self) -> list[Request]:
        """Requests that were claimed and have no result: a crash or a power cut came between."""
        return await self._run(self._store.interrupted)

    async def open_results(self) -> list[StoredResult]:
        """Results that nobody has acknowledged yet, oldest first."""
        return await self._run(self._store.open_results)

    async def close_result(self, till: str, result_id: str) -> bool:
        """The till has it, or it has expired: never sent again by itself. False when it was not open."""
        return await self._run(lambda: self._store.close_result(till, result_id))

    async def asks_since(self, unix_ms: int) -> int:
        """Paid calls of the results settled since ``unix_ms``."""
        return await self._run(lambda: self._store.asks_since(unix_ms))

    async def prune(self, epoch: str = "") -> int:
        """Delete what is older than the retention, and the oldest beyond the bound. How many were deleted.

        ``epoch``: the present one. The ids of its requests are kept until the next epoch, 130 bytes each.
        """
        return await self._run(lambda: self._store.prune(epoch))

    async def prove(self) -> None:
        """Write, durably, what changes nothing. Raises ``StorageError``: the disk would not take a result."""
        await self._run(self._store.touch)

    # --- the writer's thread ------------------------------------------------------------------------

    async def _run(self, work: Callable[[], T]) -> T:
        """The one place where SQLite's errors become ours."""
        if self._closed:
            raise StorageError("outbox: closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, self._do, work)
        except sqlite3.Error as error:
            raise StorageError(f"outbox: {type(error).__name__}: {error}") from error

    def _do(self, work: Callable[[], T]) -> T:
        if self._lost:
            db = reopen_file(self._directory)
            try:
                self._store.use(db)
            except BaseException:
                db.close()
                raise
            self._lost = False
        try:
            return work()
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)  # a torn text's has none
            if code & _PRIMARY in _DISK_FAILED:
                self._lost = True
                self._store.close()
            raise
