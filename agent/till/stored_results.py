"""The results in the outbox as the sender of results needs them: a failed write is repeated."""

import contextlib
import logging

from agent.core.ports import StoredResult
from agent.errors import StorageError
from agent.log import facts
from agent.outbox.outbox import Outbox

log = logging.getLogger(__name__)


class StoredResults:
    """Closes results whose delivery ended. The next process publishes a result that stays open again."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._unclosed: dict[str, str] = {}  # result id to till: ended, and open in the outbox

    async def load(self) -> list[StoredResult] | None:
        """The open results whose delivery did not end. None: the outbox cannot be read; retry later."""
        try:
            found = await self._outbox.open_results()
        except StorageError as error:
            log.error("outbox_failed", extra=facts(why=error))
            return None
        return [stored for stored in found if stored.result_id not in self._unclosed]

    async def close(self, till: str, result_id: str) -> None:
        """Close a result whose delivery ended. Raises ``StorageError``; ``close_rest`` repeats the write."""
        self._unclosed[result_id] = till
        await self._outbox.close_result(till, result_id)
        self._unclosed.pop(result_id, None)

    async def close_rest(self) -> None:
        """Repeat the writes that failed. A further failure is not logged."""
        with contextlib.suppress(StorageError):
            for result_id, till in list(self._unclosed.items()):
                await self.close(till, result_id)
