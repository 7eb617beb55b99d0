"""What goes on beside serving: status socket, watchdog, disk, health, old traces. Part of the root."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any

from agent.control import page_link
from agent.control.page_link_issuer import PageLinkIssuer
from agent.control.server import StatusServer, path_for
from agent.control.status import document
from agent.core.policy import PolicyLimits
from agent.fleet import machine
from agent.health.conditions_board import MACHINE_CHANGED
from agent.health.notify import notify
from agent.live_view.live_view import LiveView
from agent.root.handle import AgentHandle
from agent.root.reload import Source
from agent.root.watchers import (
    announce_changes,
    drop_old_traces,
    feed_watchdog,
    look_again,
    report_health,
    watch_certificate,
    watch_storage,
)
from agent.root.wiring import BootClock, make_trace_files, policy_limits
from agent.tasks import Background
from agent.till.adapter import MqttTill

log = logging.getLogger(__name__)


def attend(
    background: Background,
    stop: asyncio.Event,
    running: AgentHandle,
    clock: BootClock,
    source: Source,
    changed: asyncio.Event,
) -> None:
    """What goes on beside serving, until the end. ``changed``: the conditions that are shown changed."""
    background.add(announce_changes(changed, running.till, background))
    if not machine.belongs_here(running.reload.config.storage.directory):
        running.terminal.conditions.raise_(MACHINE_CHANGED)
    background.add(drop_old_traces(make_trace_files(running.reload.config), clock))
    background.add(running.reload.watch(source))
    background.add(feed_watchdog(running.terminal, clock))
    background.add(look_again(running.terminal.conditions))
    background.add(watch_storage(running))
    background.add(watch_certificate(running, clock))
    background.add(_say_stopping(stop, running.till))
    background.add(report_health(running, clock))
    if running.till.hears_operators:
        from agent.root.remote import make_diag  # else nothing of the doctor is loaded

        make_diag(running, clock, source, background)


async def _say_stopping(stop: asyncio.Event, till: MqttTill) -> None:
    await stop.wait()
    notify("STOPPING=1")
    await till.announce("stopping")


async def open_status(stack: AsyncExitStack, running: AgentHandle, clock: BootClock) -> None:
    """For `facepay status`, `doctor` and `camera`, over a local socket; and the page, if wanted."""
    terminal, first = running.terminal, running.reload.config

    def status() -> dict[str, Any]:
        said = document(running.reload.config, running.now(clock))
        return said | {"preview_open": running.finder.watched, "serving": terminal.slot.is_taken}

    def limits() -> PolicyLimits:
        return policy_limits(running.reload.config)

    technician = LiveView(running.finder, running.eye, terminal.worker, limits)
    new_link = None
    if first.page.listen != "off":
        from agent.root.page import open_page  # a web server's modules, for those who want one

        new_link = await open_page(stack, running, technician, status)
    doorkeeper = PageLinkIssuer(first.page.listen, new_link)
    looks = {**technician.looks, page_link.PAGE: doorkeeper.answer}
    server = StatusServer(path_for(first.storage.directory), status, looks)
    stack.push_async_callback(server.close)
    await server.open()
