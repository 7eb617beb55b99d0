"""Start of the jobs that run while the agent serves, and of the status socket. Part of the root."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any

from agent.control.page_link import PAGE, PageLinkIssuer
from agent.control.server import StatusServer, path_for
from agent.control.status import document
from agent.core.policy import PolicyLimits
from agent.fleet import machine
from agent.health.conditions_board import MACHINE_CHANGED
from agent.health.notify import notify
from agent.health.probe_results import MountingReading
from agent.live_view.live_view import LiveView
from agent.root.handle import AgentHandle
from agent.root.reload import Source
from agent.root.watchers import (
    announce_changes,
    drop_old_traces,
    feed_watchdog,
    refresh_conditions,
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
    handle: AgentHandle,
    clock: BootClock,
    source: Source,
    changed: asyncio.Event,
) -> None:
    """Start every background job; ``background`` ends them. ``changed``: the shown conditions changed."""
    background.add(announce_changes(changed, handle.till, background))
    if not machine.belongs_here(handle.reload.config.storage.directory):
        handle.terminal.conditions.raise_(MACHINE_CHANGED)
    background.add(drop_old_traces(make_trace_files(handle.reload.config), clock))
    background.add(handle.reload.watch(source))
    background.add(feed_watchdog(handle.terminal, clock))
    background.add(refresh_conditions(handle.terminal.conditions))
    background.add(watch_storage(handle))
    background.add(watch_certificate(handle, clock))
    background.add(_announce_stopping(stop, handle.till))
    background.add(report_health(handle, clock))
    if handle.till.accepts_diagnosis:
        from agent.root.remote import start_remote_diagnosis  # loads modules of the doctor

        start_remote_diagnosis(handle, clock, source, background)


async def _announce_stopping(stop: asyncio.Event, till: MqttTill) -> None:
    await stop.wait()
    notify("STOPPING=1")
    await till.announce("stopping")


async def open_status(stack: AsyncExitStack, handle: AgentHandle, clock: BootClock) -> None:
    """Open the local socket of `facepay status`, `doctor` and `camera`, and the page if it is configured."""
    terminal, first = handle.terminal, handle.reload.config

    def status() -> dict[str, Any]:
        facts = document(handle.reload.config, handle.now(clock))
        return facts | {"preview_open": handle.finder.watched, "serving": terminal.slot.is_taken}

    def limits() -> PolicyLimits:
        return policy_limits(handle.reload.config)

    def check_mounting(pixels: object) -> MountingReading:
        from agent.vision import detector_check  # for the doctor only

        return detector_check.check_mounting(first.vision, pixels)

    live_view = LiveView(handle.finder, handle.analyzer, terminal.worker, limits, check_mounting)
    new_link = None
    if first.page.listen != "off":
        from agent.root.page import open_page  # loads a web server

        new_link = await open_page(stack, handle, live_view, status)
    link_issuer = PageLinkIssuer(first.page.listen, new_link)
    handlers = {**live_view.looks, PAGE: link_issuer.answer}
    server = StatusServer(path_for(first.storage.directory), status, handlers)
    stack.push_async_callback(server.close)
    await server.open()
