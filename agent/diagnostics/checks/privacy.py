"""Check of the stored files: known files only, private modes, no picture."""

from __future__ import annotations

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.item import Level
from agent.diagnostics.privacy import audit, worst
from agent.diagnostics.world import World
from agent.texts import Text


def at_rest(world: World) -> Finding:
    items = audit(world)
    level = worst(items)
    first = next(item for item in items if item.level is level)
    more = sum(item.level >= Level.WARN for item in items) - 1
    summary = f"{first.path}: {first.finding}" + (f" (and {more} more)" if more > 0 else "")
    if level is Level.UNREADABLE:
        return skipped(summary)
    if level is Level.OK:
        total_bytes = sum(item.size_bytes for item in items)
        return passed(f"{len(items)} places, {total_bytes // 1024} KiB, all known, no picture")
    remedy = Text("fix.privacy_audit_all", first=first.remedy or "")
    return failed(summary, remedy) if level is Level.FAIL else warning(summary, remedy)
