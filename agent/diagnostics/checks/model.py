"""Check of the face detector: checksum of its model, and one detection."""

from __future__ import annotations

from agent.diagnostics.check import Finding, failed, passed
from agent.diagnostics.world import World
from agent.texts import Text


def integrity(world: World) -> Finding:
    """A missing or changed file raises ``ModelError``."""
    probe = world.model()
    if probe.faces != 1:
        return failed(
            f"finds {probe.faces} faces on the shipped portrait of one person",
            Text("fix.reinstall_tested_model"),
        )
    return passed(f"sha256 correct, finds the shipped face in {probe.spent_ms} ms")
