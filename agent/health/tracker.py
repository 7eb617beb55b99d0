"""Which conditions hold now. Pure: it remembers, it does not look."""

from __future__ import annotations

from collections.abc import Callable

from agent.health.conditions import CONDITIONS, Condition

# One success proves all of these wrong.
COMPARE = (
    "cost_limit",
    "compare_unreachable",
    "compare_credentials",
    "compare_account",
    "compare_config",
    "clock",
)
NO_PICTURE = ("camera_unavailable", "camera_stalled", "camera_busy", "camera_absent", "camera_denied")
CAMERA = (*NO_PICTURE, "camera_frozen", "camera_covered")


class Tracker:
    """The set of conditions that hold, with a call for each change so that ``state`` can be republished."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._active: dict[str, Condition] = {}
        self.on_change = on_change

    @property
    def active(self) -> tuple[Condition, ...]:
        """In the order in which they were raised."""
        return tuple(self._active.values())

    def raise_(self, code: str) -> None:
        """Raise a condition; a code that is not a declared condition, or already holds, changes nothing."""
        if code in CONDITIONS and code not in self._active:
            self._active[code] = CONDITIONS[code]
            self.on_change()

    def clear(self, *codes: str) -> None:
        gone = [code for code in codes if self._active.pop(code, None) is not None]
        if gone:
            self.on_change()
