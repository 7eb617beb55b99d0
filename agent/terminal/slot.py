"""The place of the one verification that a terminal runs at a time. The terminal fills it, others look."""

from __future__ import annotations

from dataclasses import dataclass

from agent.terminal.verification_runner import Verification


@dataclass(slots=True)
class Slot:
    """``current``: the open verification, if any. ``stopping``: the end has begun, no other one starts."""

    current: Verification | None = None
    stopping: bool = False

    @property
    def is_taken(self) -> bool:
        return self.current is not None
