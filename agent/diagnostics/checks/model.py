"""The face detector: the right file, and does it run?"""

from __future__ import annotations

from agent.diagnostics.check import Finding, failed, passed
from agent.diagnostics.world import World
from agent.texts import Text


def integrity(world: World) -> Finding:
    """A missing or changed file raises ``ModelError``."""
    look = world.model()
    if look.faces != 1:
        return failed(
            f"finds {look.faces} faces on the shipped portrait of one person",
            Text("fix.reinstall_tested_model"),
        )
    return passed(f"sha256 right, finds the shipped face in {look.spent_ms} ms")
