"""A call into a driver that may never come back, bounded: the caller goes on, the call costs one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Call:
    """One call in a daemon thread of its own, started at once."""

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        self._act = act
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ended_within(self, timeout_s: float) -> bool:
        """Whether it came back in that time; then what it raised is raised here."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        error, self._error = self._error, None
        if error is not None:
            raise error
        return True

    @property
    def is_hanging(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._act()
        except Exception as error:  # handed over to whoever waits
            self._error = error
