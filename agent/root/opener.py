"""Opens a listener that no payment needs: a failure is a condition, and the opening is repeated."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agent.errors import AgentError
from agent.health.condition import Condition
from agent.health.condition_tracker import ConditionTracker
from agent.log import facts

log = logging.getLogger(__name__)

AGAIN_S = 10.0


class Opener:
    """``open_`` opens the listener and raises ``AgentError``; ``condition`` is active while it is closed."""

    def __init__(
        self,
        name: str,
        open_: Callable[[], Awaitable[None]],
        conditions: ConditionTracker,
        condition: Condition,
    ) -> None:
        self._name, self._open = name, open_
        self._conditions, self._condition = conditions, condition

    async def open(self) -> bool:
        """Open once. False: it failed; the log and the condition have the reason."""
        try:
            await self._open()
        except AgentError as error:
            log.error(f"{self._name}_failed", extra=facts(code=error.code, why=error, fix=str(error.fix)))
            self._conditions.raise_(self._condition, error.detail)
            return False
        self._conditions.clear(self._condition)
        return True

    async def retry(self) -> None:
        """Repeat the opening until it succeeds: another program may release the port."""
        is_open = False
        while not is_open:
            await asyncio.sleep(AGAIN_S)
            is_open = await self.open()
