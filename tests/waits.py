"""Waits for a condition, in place of a fixed time that is too short on a busy machine."""

from __future__ import annotations

import asyncio
import threading

from agent.kits.till.client import TillClient


class WatchedStop(threading.Event):
    """An event that shows when another thread begins to wait for it: ``waited_for`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_for.set()
        return super().wait(timeout)


async def until_accepted(till: TillClient) -> None:
    """Wait until the terminal has accepted the open request of this till.

    Raises ``TimeoutError`` after 60 s.
    """
    async with asyncio.timeout(60):
        while till._open is None or not till._open.accepted:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0.01)
