"""An event loop whose name lookups can be abandoned.

A name server that never answers blocks ``getaddrinfo`` for as long as it likes, and no time-out reaches into
it. asyncio's own loop runs it in the pool it uses for all blocking work: a few such lookups starve the rest,
and at the end it waits for each of them. Here every lookup has a thread of its own, which nobody waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

HANGING_MAX = 16  # lookups at a time; a terminal asks for three names


class AgentEventLoop(asyncio.SelectorEventLoop):
    """What ``facepay run`` runs on."""

    def __init__(self) -> None:
        super().__init__()
        self._looking_up = 0

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """As ``socket.getaddrinfo``. Raises ``socket.gaierror``, at once when too many hang already."""
        if self._looking_up >= HANGING_MAX:
            raise socket.gaierror(socket.EAI_AGAIN, "too many lookups were never answered")
        answer: asyncio.Future[Any] = self.create_future()

        def settle(found: Any, error: Exception | None) -> None:
            self._looking_up -= 1
            if answer.done():  # given up meanwhile
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found)

        def look_up() -> None:
            found, error = None, None
            try:
                found = socket.getaddrinfo(host, port, family, type, proto, flags)
            except Exception as caught:
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self.call_soon_threadsafe(settle, found, error)

        self._looking_up += 1
        threading.Thread(target=look_up, name="lookup", daemon=True).start()
        return await answer
