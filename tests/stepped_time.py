"""An event loop whose time does not depend on the machine: it advances when the loop has nothing to do.

A wait ends at once, and in the order of the waits. No stop of the process, however long, is seen by the code
under test. While a call of an executor runs, time stands still. Other threads are not waited for: a test with
threads of its own needs the real time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from tests.fakes import RealClock

STUCK_S = 240.0  # real time, below the limit of a hanging test


class SteppedTime:
    """The time of all stepped loops and of ``RealClock``, from one start on."""

    def __init__(self) -> None:
        self.start_ms, self.now_s = RealClock().now_ms(), 0.0

    def now_ms(self) -> int:
        return self.start_ms + round(self.now_s * 1e3)


class SteppedSelector(selectors.DefaultSelector):
    """Returns ready descriptors at once. Without one, a wait for a time ends by setting the clock."""

    def __init__(self, time: SteppedTime) -> None:
        super().__init__()
        self._time = time
        self.calls_running = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.calls_running or timeout is None:
            if not (ready := super().select(STUCK_S)):
                raise RuntimeError("nothing happens while time stands still: this test needs the real time")
            return ready
        self._time.now_s += timeout
        return []


class SteppedLoop(asyncio.SelectorEventLoop):
    def __init__(self, time: SteppedTime) -> None:
        self._stepped, self._steps = time, SteppedSelector(time)
        super().__init__(self._steps)

    def time(self) -> float:
        return self._stepped.now_s

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        self._steps.calls_running += 1
        call: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        call.add_done_callback(self._ended)
        return call

    def _ended(self, _: object) -> None:
        self._steps.calls_running -= 1
