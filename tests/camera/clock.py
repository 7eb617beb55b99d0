"""Clocks for tests: a clock that the test moves, and a running clock."""

from __future__ import annotations

import time


class HandClock:
    def __init__(self, now_ms: int = 1_000) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms

    def unix_ms(self) -> int:
        return 1_700_000_000_000 + self.at_ms


class SteppingClock(HandClock):
    """A clock that advances by ``step_ms`` with each reading, so that a ``FrameTimer`` never sleeps."""

    def __init__(self, step_ms: int = 50) -> None:
        super().__init__()
        self._step_ms = step_ms

    def now_ms(self) -> int:
        self.at_ms += self._step_ms
        return self.at_ms


class RunningClock:
    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000
