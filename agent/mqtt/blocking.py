"""A blocking call in a daemon thread that may be abandoned, one thread at a time.

``connect`` of paho blocks in the resolver beyond its time limit: tens of seconds while no name server
answers. A daemon thread does not delay the end of the process. One thread at a time, because each retry would
otherwise leave a further blocked thread behind.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


class BlockingCall:
    """For one asyncio loop. ``run`` may be called again after a call was abandoned."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], object], timeout_s: float) -> bool:
        """Whether ``work`` ended in time and did not return False.

        False at once, without a call, while an abandoned call still blocks. An exception of ``work`` counts
        as False; ``threading.excepthook`` reports the exception.
        """
        if self._thread is not None and self._thread.is_alive():
            return False
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        succeeded = False

        def run() -> None:
            nonlocal succeeded
            try:
                succeeded = work() is not False
            finally:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(done.set)

        self._thread = threading.Thread(target=run, name="mqtt-blocking", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(timeout_s):
                await done.wait()
        except TimeoutError:
            return False
        return succeeded
