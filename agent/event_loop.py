"""An event loop whose name lookups can be abandoned.

``getaddrinfo`` blocks as long as a name server sends no answer, and no time-out applies to the call. The
standard loop runs lookups in the thread pool of all blocking work. A few hanging lookups block the other
work, and the end of the loop waits for each lookup. Here each lookup has its own thread, and the end does not
wait.
"""

import asyncio
import socket
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from agent.tasks import in_thread

T = TypeVar("T")

HANGING_MAX = 16  # lookups at a time; a terminal looks up three names


class AgentEventLoop(asyncio.SelectorEventLoop):
    """The event loop of every program of this package."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: list[Future[Any]] = []

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """As ``socket.getaddrinfo``. Raises ``socket.gaierror``, at once when ``HANGING_MAX`` lookups run."""
        self._lookups = [lookup for lookup in self._lookups if not lookup.done()]
        if len(self._lookups) >= HANGING_MAX:
            raise socket.gaierror(socket.EAI_AGAIN, "too many lookups were never answered")
        lookup = in_thread("lookup", partial(socket.getaddrinfo, host, port, family, type, proto, flags))
        self._lookups.append(lookup)
        return await asyncio.wrap_future(lookup, loop=self)


def run(work: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, on this loop: the end waits for no name lookup."""
    with asyncio.Runner(loop_factory=AgentEventLoop) as runner:
        return runner.run(work)
