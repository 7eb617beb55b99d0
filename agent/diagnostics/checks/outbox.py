"""Check of the outbox: integrity of the file, age of the unacknowledged results."""

from __future__ import annotations

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import StorageError
from agent.texts import Text

_OLD_MS = 10 * 60_000  # a running till acknowledges within seconds


def state(world: World) -> Finding:
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
