"""What goes on beside serving: status socket, watchdog, health reports, old traces. Part of the root."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any

from agent.core.policy import PolicyLimits
from agent.core.ports import Clock
from agent.diagnostics.document import document, health_facts
from agent.diagnostics.socket import StatusServer, path_for
from agent.fleet import machine
from agent.health.notify import notify, watchdog_period_s
from agent.health.tracker import Tracker
from agent.log import facts
from agent.recorder.traces import TraceFiles
from agent.root.reload import Source
from agent.root.running import Running
from agent.root.technician import Technician
from agent.root.wiring import BootClock, make_trace_files, policy_limits
from agent.tasks import Background
from agent.terminal.terminal import Terminal
from agent.till.mqtt_till import MqttTill

log = logging.getLogger(__name__)

HEALTH_EVERY_S = 60.0
LOOK_AGAIN_S = 0.5
TRACES_EVERY_S = 3_600.0


def attend(
    background: Background, stop: asyncio.Event, running: Running, clock: BootClock, source: Source
) -> None:
    """What goes on beside serving, until the end."""
    if not machine.belongs_here(running.reload.config.storage.directory):
        running.terminal.conditions.raise_("machine_changed")
    background.add(_drop_old_traces(make_trace_files(running.reload.config), clock))
    background.add(running.reload.watch(source))
    background.add(_feed_watchdog(running.terminal, clock))
    background.add(_look_again(running.terminal.conditions))
    background.add(_say_stopping(stop, running.till))
    background.add(_report_health(running, clock))
    if running.till.hears_operators:
        from agent.root.remote import make_diag  # else nothing of the doctor is loaded

        make_diag(running, clock, source, background)


async def _say_stopping(stop: asyncio.Event, till: MqttTill) -> None:
    await stop.wait()
    notify("STOPPING=1")
    await till.announce("stopping")


async def open_status(stack: AsyncExitStack, running: Running, clock: BootClock) -> None:
    """For `facepay status`, `doctor` and `camera`, over a local socket; and the page, if wanted."""

    def status() -> dict[str, Any]:
        said = document(running.reload.config, running.now(clock))
        return said | {"preview_open": running.finder.watched}

    def limits() -> PolicyLimits:
        return policy_limits(running.reload.config)

    terminal, first = running.terminal, running.reload.config
    running.finder.serves_a_payer = lambda: terminal.current is not None
    technician = Technician(running.finder, running.eye, terminal.worker, limits)
    server = StatusServer(path_for(first.storage.directory), status, technician.looks)
    stack.push_async_callback(server.close)
    await server.open()
    if first.page.listen != "off":
        from agent.root.showing import open_page  # a web server's modules, for those who want one

        await open_page(stack, running, technician, status)


async def _report_health(running: Running, clock: BootClock) -> None:
    """For the back office, every minute; the first a minute after the start."""
    while True:
        await asyncio.sleep(HEALTH_EVERY_S)
        await running.till.report(health_facts(running.now(clock)))


async def _drop_old_traces(files: TraceFiles, clock: BootClock) -> None:
    """Also when nothing is recorded any more: a promise of days holds for what lies there already."""
    while True:
        try:
            await asyncio.to_thread(files.prune, clock.unix_ms())
        except OSError as error:
            log.error("old_traces_kept", extra=facts(why=error))
        await asyncio.sleep(TRACES_EVERY_S)


async def _look_again(conditions: Tracker) -> None:
    """For what becomes visible by lasting: nothing happens then that would tell."""
    while True:
        await asyncio.sleep(LOOK_AGAIN_S)
        conditions.look_again()


async def _feed_watchdog(terminal: Terminal, clock: Clock) -> None:
    """Feed systemd's watchdog while fresh frames arrive or a bounded recovery is under way, only then."""
    period_s = watchdog_period_s()
    while period_s is not None:
        if terminal.pulse.beats(clock.now_ms()):
            notify("WATCHDOG=1")
        await asyncio.sleep(period_s)
