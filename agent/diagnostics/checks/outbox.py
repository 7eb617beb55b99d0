"""The outbox file: whole, and are its results collected?"""

from __future__ import annotations

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import StorageError
from agent.texts import Text

_OLD_MS = 10 * 60_000  # a till that runs acknowledges within seconds


def state(world: World) -> Finding:
    try:
        look = world.outbox()
    except StorageError as error:
        if error.code != "storage_denied":
            raise
        return skipped(f"{error}; sudo may")
    if look is None:
        return passed("no outbox yet: nothing was asked here")
    if look.damage:
        return failed(
            f"damaged: {look.damage}",
            Text("fix.outbox_damaged"),
        )
    if look.set_aside:
        return warning(
            f"{look.set_aside} damaged outbox files were set aside",
            Text("fix.damaged_outbox_files"),
        )
    age_ms = 0 if look.oldest_open_unix_ms is None else world.unix_ms() - look.oldest_open_unix_ms
    if age_ms > _OLD_MS:
        return warning(
            f"{look.depth} results unacknowledged, the oldest for {age_ms // 60_000} min",
            Text("fix.till_not_acknowledging"),
        )
    return passed(f"whole, {look.depth} results unacknowledged")
