"""The outbox: durable claims and results in one SQLite file. Implements ``core.ports.ClaimStore``.

WAL with ``synchronous=FULL``: a method returns after the data is on the disk. One writer thread owns the
connection, so the asyncio loop never waits for a disk. A crash leaves a claim without a result;
``interrupted_requests`` returns such claims. After a disk failure the file is opened again. No image is ever
written to the outbox.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.config import StorageConfig
from agent.core.model import Request, Result
from agent.core.ports import ClaimRecord, Clock, StoredResult
from agent.errors import StorageError, reason_of
from agent.outbox.database import FILE, OutboxDamaged, open_file, reopen_file
from agent.outbox.queries import Encode, OutboxQueries
from agent.texts import Text

T = TypeVar("T")
SLOW_S = 2.0  # a request has two writes within its few seconds
_FAST_CHECKS_MIN = 30  # a check writes one page of an idle disk: one fast check proves nothing about a claim

# After these errors a connection may never work again, even when a disk is mounted again.
_DISK_FAILED = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY = 0xFF  # of SQLite's extended result codes


class Outbox:
    """Every method may raise ``StorageError``; earlier data stays stored.

    Attributes:
        damaged: set after a read of a damaged page. From then on every method raises ``OutboxDamaged``.
        was_damaged: a damaged file was moved aside at the start.
    """

    def __init__(
        self,
        config: StorageConfig,
        clock: Clock,
        boot_id: str,
        encode: Encode,
        is_synchronised: Callable[[], bool | None] = lambda: True,
    ) -> None:
        """Open or create the file in ``config.directory``.

        ``encode`` makes the bytes of a result, once. ``is_synchronised``: of the wall clock; None: not known.
        """
        self._directory, self._is_file_lost = config.directory, False
        self.damaged = asyncio.Event()
        db, self.was_damaged = open_file(config.directory, clock.unix_ms())
        self._queries = OutboxQueries(db, config, clock, boot_id, encode, is_synchronised)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._closed = False
        self.slow_writes = 0  # writes in a row that each needed ``SLOW_S``; ``_timed`` resets it
        self._fast_writes = 0  # in a row

    async def close(self) -> None:
        """Wait for the writer, then close the file. Safe to call twice."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._writer, self._queries.close)
            self._writer.shutdown(wait=True)

    # --- core.ports.ClaimStore ------------------------------------------------------------------------

    async def find(self, till: str, request_id: str) -> ClaimRecord | None:
        return await self._run(lambda: self._queries.find(till, request_id))

    async def claim(self, request: Request) -> None:
        await self._run(self._timed(lambda: self._queries.claim(request)))

    async def settle(self, result: Result) -> StoredResult:
        return await self._run(self._timed(lambda: self._queries.settle(result)))

    # --- delivery and maintenance -------------------------------------------------------------------

    async def interrupted_requests(self) -> list[Request]:
        """Claimed requests without a result: a crash or a power cut ended the process in between."""
        return await self._run(self._queries.interrupted_requests)

    async def open_results(self) -> list[StoredResult]:
        """Results without acknowledgement, oldest first."""
        return await self._run(self._queries.open_results)

    async def close_result(self, till: str, result_id: str) -> bool:
        """Mark a result as acknowledged or expired: not sent again. False when the result was not open."""
        return await self._run(lambda: self._queries.close_result(till, result_id))

    async def calls_within(self, period_ms: int) -> int:
        """Number of paid API calls of the results of the last ``period_ms``."""
        return await self._run(lambda: self._queries.calls_within(period_ms))

    async def prune(self, epoch: str) -> int:
        """Delete results beyond the retention time or the maximum number; return the number of deleted ones.

        An unacknowledged result of an earlier boot is kept. By age, no result of an earlier boot is deleted
        while the wall clock is known to be not synchronised.

        ``epoch``: the present one. The ids of its requests are kept until the next epoch, 130 bytes each.
        """
        return await self._run(lambda: self._queries.prune(epoch))

    async def check_writable(self) -> None:
        """Commit a transaction without a change. Raises ``StorageError`` when the disk accepts no writes."""
        await self._run(self._timed(self._queries.touch, fast_min=_FAST_CHECKS_MIN))

    def _timed(self, work: Callable[[], T], *, fast_min: int = 1) -> Callable[[], T]:
        """``work``, which updates ``slow_writes``. The time is that of the writer's thread only.

        Args:
            work: one write.
            fast_min: a fast write resets ``slow_writes`` when this number of fast writes in a row is reached.
        """

        def timed() -> T:
            began_s, is_done = time.monotonic(), False
            try:
                result = work()
                is_done = True
                return result
            finally:
                if time.monotonic() - began_s >= SLOW_S:
                    self._fast_writes = 0
                    self.slow_writes += 1
                elif is_done:  # a write that fails at once is no fast write
                    self._fast_writes += 1
                    if self._fast_writes >= fast_min:
                        self.slow_writes = 0

        return timed

    # --- the writer's thread ------------------------------------------------------------------------

    async def _run(self, query: Callable[[], T]) -> T:
        """The only place that translates ``sqlite3.Error`` to ``StorageError``."""
        if self._closed:
            raise StorageError(Text("detail.outbox_closed"))
        if self.damaged.is_set():
            raise OutboxDamaged(Text("detail.outbox_page_damaged", path=self._directory / FILE))
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, self._run_in_writer, query)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & _PRIMARY in _DAMAGED:
                self.damaged.set()
            raise StorageError(Text("detail.outbox_failed", reason=reason_of(error))) from error

    def _run_in_writer(self, query: Callable[[], T]) -> T:
        if self._is_file_lost:
            db = reopen_file(self._directory)
            try:
                self._queries.replace_connection(db)
            except BaseException:
                db.close()
                raise
            self._is_file_lost = False
        try:
            return query()
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)  # an undecodable text has no code
            if code & _PRIMARY in _DISK_FAILED:
                self._is_file_lost = True
                self._queries.close()
            raise
