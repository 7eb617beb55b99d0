"""The slot of the one open verification. Only the terminal writes; other parts read."""

from __future__ import annotations

from dataclasses import dataclass

from agent.terminal.verification_runner import Verification


@dataclass(slots=True)
class Slot:
    """``current``: the open verification, if any. ``stopping``: no further verification starts."""

    current: Verification | None = None
    stopping: bool = False

    @property
    def is_taken(self) -> bool:
        return self.current is not None
