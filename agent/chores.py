"""What goes on beside serving: status socket, watchdog, health reports, old traces. Part of the root."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from agent.diagnostics.document import Now, document
from agent.diagnostics.socket import StatusServer, path_for
from agent.fleet import machine
from agent.health.counters import snapshot
from agent.health.frames import FrameMeter
from agent.health.notify import notify, watchdog_period_s
from agent.health.tracker import CAMERA
from agent.log import facts
from agent.recorder.traces import TraceFiles
from agent.reload import Reload, Source
from agent.tasks import Background
from agent.terminal import Terminal
from agent.till.mqtt_till import MqttTill
from agent.till.signing import PublicKey
from agent.wiring import BootClock, make_trace_files

log = logging.getLogger(__name__)

HEALTH_EVERY_S = 60.0
TRACES_EVERY_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Running:
    """What a caller in the same process may look at while the agent serves."""

    terminal: Terminal
    till: MqttTill
    public_key: PublicKey
    meter: FrameMeter
    reload: Reload


def attend(
    background: Background, stop: asyncio.Event, running: Running, clock: BootClock, source: Source
) -> None:
    """What goes on beside serving, until the end."""
    if not machine.belongs_here(running.reload.config.storage.directory):
        running.terminal.conditions.raise_("machine_changed")
    background.add(_drop_old_traces(make_trace_files(running.reload.config), clock))
    background.add(running.reload.watch(source))
    background.add(_feed_watchdog(running.terminal))
    background.add(_say_stopping(stop, running.till))
    background.add(_report_health(running, clock))


async def _say_stopping(stop: asyncio.Event, till: MqttTill) -> None:
    await stop.wait()
    notify("STOPPING=1")
    await till.announce("stopping")


async def open_status(stack: AsyncExitStack, running: Running, clock: BootClock) -> None:
    """For `facepay status` and `facepay doctor`, over a local socket."""
    started_ms = clock.now_ms()

    def status() -> dict[str, Any]:
        terminal, till = running.terminal, running.till
        camera = running.meter.facts(clock.now_ms())
        uptime_s = (clock.now_ms() - started_ms) // 1_000
        conditions, counters = terminal.conditions.active, terminal.counters
        depth = till.courier.depth
        now = Now(uptime_s, conditions, counters, camera, till.link.connected, depth, running.reload.refused)
        return document(running.reload.config, now)

    server = StatusServer(path_for(running.reload.config.storage.directory), status)
    stack.push_async_callback(server.close)
    await server.open()


async def _report_health(running: Running, clock: BootClock) -> None:
    """For the back office, every minute; the first a minute after the start."""
    started_ms = clock.now_ms()
    while True:
        await asyncio.sleep(HEALTH_EVERY_S)
        uptime_s = (clock.now_ms() - started_ms) // 1_000
        await running.till.report({"uptime_s": uptime_s, **snapshot(running.terminal.counters)})


async def _drop_old_traces(files: TraceFiles, clock: BootClock) -> None:
    """Also when nothing is recorded any more: a promise of days holds for what lies there already."""
    while True:
        try:
            await asyncio.to_thread(files.prune, clock.unix_ms())
        except OSError as error:
            log.error("old_traces_kept", extra=facts(why=error))
        await asyncio.sleep(TRACES_EVERY_S)


async def _feed_watchdog(terminal: Terminal) -> None:
    """Feed systemd's watchdog while frames arrive, or while their absence is a published condition."""
    period_s = watchdog_period_s()
    seen = -1
    while period_s is not None:
        frames = terminal.counters.frames_seen
        if frames != seen or any(condition.code in CAMERA for condition in terminal.conditions.active):
            notify("WATCHDOG=1")
        seen = frames
        await asyncio.sleep(period_s)
