"""What goes on beside serving: status socket, watchdog, disk, health, old traces. Part of the root."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from agent.control import page_link
from agent.control.page_link_issuer import Doorkeeper
from agent.control.server import StatusServer, path_for
from agent.control.status import document, health_facts
from agent.core.policy import PolicyLimits
from agent.core.ports import Clock
from agent.errors import StorageError, TillError
from agent.fleet import machine
from agent.health.conditions import CONDITIONS
from agent.health.disk import is_read_only
from agent.health.expiry import CODES, Nearness, days_left, nearness
from agent.health.notify import notify, watchdog_period_s
from agent.health.probe_results import CertificateLook
from agent.health.tracker import Tracker
from agent.live_view.live_view import Technician
from agent.log import facts
from agent.messages.signing import KEY_FILE
from agent.recorder.traces import TraceFiles
from agent.root.handle import Running
from agent.root.reload import Source
from agent.root.wiring import BootClock, make_trace_files, policy_limits
from agent.tasks import Background
from agent.terminal.terminal import Terminal
from agent.till.adapter import MqttTill

log = logging.getLogger(__name__)

HEALTH_EVERY_S = 60.0
LOOK_AGAIN_S = 0.5
TRACES_EVERY_S = 3_600.0
STORAGE_EVERY_S = 10.0
CERTIFICATE_EVERY_S = 3_600.0  # one small file; and a clock that was wrong at the start is right by then


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
    background.add(_watch_storage(running))
    background.add(_watch_certificate(running, clock))
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
    terminal, first = running.terminal, running.reload.config

    def status() -> dict[str, Any]:
        said = document(running.reload.config, running.now(clock))
        return said | {"preview_open": running.finder.watched, "serving": terminal.current is not None}

    def limits() -> PolicyLimits:
        return policy_limits(running.reload.config)

    running.finder.serves_a_payer = lambda: terminal.current is not None
    technician = Technician(running.finder, running.eye, terminal.worker, limits)
    doorkeeper = Doorkeeper(first.page.listen)
    looks = {**technician.looks, page_link.PAGE: doorkeeper.answer}
    server = StatusServer(path_for(first.storage.directory), status, looks)
    stack.push_async_callback(server.close)
    await server.open()
    if first.page.listen != "off":
        from agent.root.page import open_page  # a web server's modules, for those who want one

        doorkeeper.new_link = await open_page(stack, running, technician, status)


async def _report_health(running: Running, clock: BootClock) -> None:
    """For the back office, every minute; the first a minute after the start."""
    while True:
        await asyncio.sleep(HEALTH_EVERY_S)
        try:
            await running.till.report(health_facts(running.now(clock)))
        except OSError as error:  # /proc cannot be read just now: the next minute has other numbers
            log.warning("health_not_told", extra=facts(why=error))


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


async def _watch_storage(running: Running) -> None:
    """Says that the disk went read-only before a payer has to find out, and that it is mended without one.

    A look writes nothing, since a card wears by writing; what was amiss is over when a write has succeeded.
    """
    conditions, key = running.terminal.conditions, running.reload.config.storage.directory / KEY_FILE
    while True:
        await asyncio.sleep(STORAGE_EVERY_S)
        if any(each.code == "storage_unavailable" for each in conditions.active):
            with suppress(StorageError):  # it holds already
                await running.outbox.prove()
                conditions.clear("storage_unavailable")
        elif await asyncio.to_thread(is_read_only, key):
            log.error("storage_failed", extra=facts(why=f"{key.parent} went read-only"))
            conditions.raise_("storage_unavailable")


async def _watch_certificate(running: Running, clock: BootClock) -> None:
    """Says when this terminal's own certificate will end, and takes it back once the file was renewed."""
    mqtt = running.reload.config.mqtt  # another file takes a restart
    if not mqtt.tls or mqtt.cert_file is None:
        return
    while True:
        try:
            seen = await asyncio.to_thread(_look_at_certificate, mqtt.cert_file)
        except TillError as error:  # it is just being replaced, or it will be missed at the next connection
            log.error("certificate_unread", extra=facts(code=error.code, why=error, fix=str(error.fix)))
        else:
            _say_how_near(running.terminal.conditions, seen, clock.unix_ms())
        await asyncio.sleep(CERTIFICATE_EVERY_S)


def _look_at_certificate(path: Path) -> CertificateLook:
    from agent.mqtt.certificate import look  # x509 is for those who have one

    return look(path)


def _say_how_near(conditions: Tracker, seen: CertificateLook, now_ms: int) -> None:
    """A clock before the certificate's beginning was never set: it tells nothing, so nothing is changed."""
    if now_ms < seen.begins_unix_s * 1_000:
        return
    near = nearness(seen.ends_unix_s, now_ms)
    if near is not Nearness.FAR:
        left = days_left(seen.ends_unix_s, now_ms)
        log.warning(near.value, extra=facts(days_left=left, fix=str(CONDITIONS[near].fix)))
        conditions.raise_(near)
    conditions.clear(*(code for code in CODES if code != near))


async def _feed_watchdog(terminal: Terminal, clock: Clock) -> None:
    """Feed systemd's watchdog while fresh frames arrive or a bounded recovery is under way, only then."""
    period_s = watchdog_period_s()
    while period_s is not None:
        if terminal.pulse.beats(clock.now_ms()):
            notify("WATCHDOG=1")
        await asyncio.sleep(period_s)
