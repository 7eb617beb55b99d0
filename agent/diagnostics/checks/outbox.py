"""The outbox file: whole, and are its results collected?"""

from __future__ import annotations

from agent.diagnostics.check import Finding, Remedy, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import StorageError

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
            Remedy(
                "Restart the agent: it sets the file aside; keep that one for the back office.",
                "请重启服务：损坏的文件会被移开并新建，请保留旧文件供后台核查。",
            ),
        )
    if look.set_aside:
        return warning(
            f"{look.set_aside} damaged outbox files were set aside",
            Remedy(
                "Give the .damaged files to the back office, then delete them.",
                "请将 .damaged 文件交给后台后删除。",
            ),
        )
    age_ms = 0 if look.oldest_open_unix_ms is None else world.unix_ms() - look.oldest_open_unix_ms
    if age_ms > _OLD_MS:
        return warning(
            f"{look.depth} results unacknowledged, the oldest for {age_ms // 60_000} min",
            Remedy(
                "See that the till runs and acknowledges results.", "请确认收银机正在运行并确认收到结果。"
            ),
        )
    return passed(f"whole, {look.depth} results unacknowledged")
