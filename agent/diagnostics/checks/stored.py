"""Checks of stored files: checksum of the face detector's model, outbox, privacy audit."""

from __future__ import annotations

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.item import Level
from agent.diagnostics.privacy import audit, worst
from agent.diagnostics.world import World
from agent.errors import StorageError
from agent.texts import Text

_OLD_MS = 10 * 60_000  # a running till acknowledges within seconds


def model(world: World) -> Finding:
    """One detection. Raises ``ModelError``: the model's file is missing or changed."""
    probe = world.model()
    if probe.faces != 1:
        why = f"finds {probe.faces} faces on the shipped portrait of one person"
        return failed(why, Text("fix.reinstall_tested_model"))
    return passed(f"sha256 correct, finds the shipped face in {probe.spent_ms} ms")


def outbox(world: World) -> Finding:
    """Integrity of the file, age of the unacknowledged results."""
    try:
        probe = world.outbox()
    except StorageError as error:
        if error.code != "storage_denied":
            raise
        return skipped(f"{error}; run the doctor with sudo")
    if probe is None:
        return passed("no outbox yet: no request was accepted")
    if probe.damage:
        return failed(f"damaged: {probe.damage}", Text("fix.outbox_damaged"))
    if probe.set_aside:
        why = f"{probe.set_aside} damaged outbox files were renamed and kept"
        return warning(why, Text("fix.damaged_outbox_files"))
    age_ms = 0 if probe.oldest_open_unix_ms is None else world.unix_ms() - probe.oldest_open_unix_ms
    if age_ms > _OLD_MS:
        why = f"{probe.depth} results unacknowledged, the oldest for {age_ms // 60_000} min"
        return warning(why, Text("fix.till_not_acknowledging"))
    return passed(f"intact, {probe.depth} results unacknowledged")


def privacy(world: World) -> Finding:
    """Known files only, private modes, no picture."""
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
