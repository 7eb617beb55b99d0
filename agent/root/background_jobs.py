"""The jobs that run while the agent serves. ``start_background_jobs`` starts all of them."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from agent.control.status import health_facts
from agent.core.ports import Clock
from agent.errors import StorageError, TillError
from agent.fleet import machine
from agent.health.board import is_full, is_read_only
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import DISK_LOW, MACHINE_CHANGED, STORAGE_SLOW, STORAGE_UNAVAILABLE
from agent.health.expiry import EXPIRY_CONDITIONS, days_left, expiry_level
from agent.health.notify import notify, watchdog_period_s
from agent.health.probe_results import CertificateProbe
from agent.log import facts
from agent.messages.signing import KEY_FILE
from agent.outbox.outbox import SLOW_S
from agent.recorder.traces import TraceFiles
from agent.root.handle import AgentHandle
from agent.root.reload import Source
from agent.root.self_checks import adapt_pace, watch_api, watch_board, watch_upgrades
from agent.root.wiring import BootClock, make_trace_files
from agent.tasks import Background
from agent.terminal.terminal import Terminal
from agent.texts import TextError, load_messages
from agent.till.adapter import MqttTill

log = logging.getLogger(__name__)

HEALTH_EVERY_S = 60.0
REFRESH_EVERY_S = 0.5
TRACES_EVERY_S = 3_600.0
STORAGE_EVERY_S = 10.0
SLOW_WRITES_MIN = 3  # one slow write can be a pause of the machine
CERTIFICATE_EVERY_S = 3_600.0  # often enough for a clock that was wrong at the start


def start_background_jobs(
    background: Background,
    stop: asyncio.Event,
    handle: AgentHandle,
    clock: BootClock,
    source: Source,
    changed: asyncio.Event,
) -> None:
    """Start every background job; ``background`` ends them. ``changed``: the shown conditions changed."""
    if not machine.is_of_this_machine(handle.reload.config.storage.directory):
        handle.terminal.conditions.raise_(MACHINE_CHANGED)
    terminal, till = handle.terminal, handle.till
    background.add(load_texts())
    for job in (
        partial(announce_changes, changed, handle, background),
        partial(drop_old_traces, make_trace_files(handle.reload.config), clock),
        partial(handle.reload.watch, source),
        partial(feed_watchdog, terminal, clock),
        partial(refresh_conditions, terminal.conditions),
        partial(watch_storage, handle),
        partial(stop_when_damaged, handle, stop),
        partial(watch_board, handle),
        partial(watch_upgrades, handle, clock),
        partial(adapt_pace, handle),
        partial(watch_api, handle, clock),
        partial(watch_certificate, handle, clock),
        partial(_announce_stopping, stop, till),
        partial(report_health, handle, clock),
    ):
        background.keep(job)
    if handle.till.accepts_diagnosis:
        from agent.root.remote import start_remote_diagnosis  # loads modules of the doctor

        start_remote_diagnosis(handle, clock, source, background)


async def load_texts() -> None:
    """Read the texts of all languages once. A damaged file is one line of the log, not a traceback."""
    try:
        await asyncio.to_thread(load_messages)
    except TextError as error:
        log.error("texts_not_loaded", extra=facts(why=error))


async def _announce_stopping(stop: asyncio.Event, till: MqttTill) -> None:
    await stop.wait()
    notify("STOPPING=1")
    await till.state.announce("stopping")


async def announce_changes(changed: asyncio.Event, handle: AgentHandle, background: Background) -> None:
    """Publish ``state`` after each change of the conditions; several quick changes are one message.

    Also updates the status line of the systemd unit.
    """
    while True:
        await changed.wait()
        changed.clear()
        config = handle.reload.config
        causes = [each.code for each in handle.terminal.conditions.causes]
        notify(f"STATUS={status_line(config.site, config.terminal, causes)}")
        # a publish can wait for its broker; the next change must not
        background.add(handle.till.state.announce())


def status_line(site: str, terminal: str, causes: Sequence[str]) -> str:
    """The line of ``systemctl status``. ``causes``: the codes of the shown conditions; empty: no fault."""
    degraded = f", degraded: {', '.join(causes)}" if causes else ""
    return f"serving {site}/{terminal}{degraded}"


async def report_health(handle: AgentHandle, clock: BootClock) -> None:
    """Publish ``health`` every minute, for the first time one minute after the start."""
    while True:
        await asyncio.sleep(HEALTH_EVERY_S)
        try:
            await handle.till.publish_health(health_facts(handle.now(clock)))
        except OSError as error:  # /proc cannot be read now: try again in a minute
            log.warning("health_not_published", extra=facts(why=error))


async def drop_old_traces(files: TraceFiles, clock: BootClock) -> None:
    """Delete old traces, also when no trace is recorded now: ``keep_days`` holds for earlier files, too."""
    while True:
        try:
            await asyncio.to_thread(files.prune, clock.unix_ms())
        except OSError as error:
            log.error("old_traces_not_deleted", extra=facts(why=error))
        await asyncio.sleep(TRACES_EVERY_S)


async def refresh_conditions(conditions: ConditionTracker) -> None:
    """Update conditions that become visible after some time: no event announces that moment."""
    while True:
        await asyncio.sleep(REFRESH_EVERY_S)
        conditions.refresh()


async def watch_storage(handle: AgentHandle) -> None:
    """Raise and clear ``storage_unavailable`` without a verification.

    The check for a read-only disk writes nothing, because writing wears a card. An almost full disk is tested
    with a write, and so is a slow disk: several fast writes clear ``storage_slow``. Only a successful write
    clears ``storage_unavailable``: that of a claim, or a test write while the disk is not full, because one
    page can fit where no claim does.
    """
    conditions, key = handle.terminal.conditions, handle.reload.config.storage.directory / KEY_FILE
    while True:
        await asyncio.sleep(STORAGE_EVERY_S)
        if STORAGE_UNAVAILABLE in conditions.active:
            if not await asyncio.to_thread(is_full, key.parent):
                with suppress(StorageError):  # the condition is active already
                    await handle.outbox.check_writable()
                    conditions.clear(STORAGE_UNAVAILABLE)
        elif await asyncio.to_thread(is_read_only, key):
            log.error("storage_failed", extra=facts(why=f"{key.parent} went read-only"))
            conditions.raise_(STORAGE_UNAVAILABLE)
        elif DISK_LOW in conditions.active or STORAGE_SLOW in conditions.active:
            try:
                await handle.outbox.check_writable()
            except StorageError as error:
                log.error("storage_failed", extra=facts(why=error))
                conditions.raise_(STORAGE_UNAVAILABLE)
        is_slow = handle.outbox.slow_writes >= SLOW_WRITES_MIN
        conditions.update(STORAGE_SLOW, is_slow, f"{handle.outbox.slow_writes} x {SLOW_S:g} s")


async def stop_when_damaged(handle: AgentHandle, stop: asyncio.Event) -> None:
    """Stop the agent when a page of the outbox is damaged: only the next start repairs the outbox."""
    await handle.outbox.damaged.wait()
    handle.terminal.conditions.raise_(STORAGE_UNAVAILABLE)
    stop.set()


async def watch_certificate(handle: AgentHandle, clock: BootClock) -> None:
    """Raise a condition before this terminal's certificate ends; clear it after the file was renewed."""
    mqtt = handle.reload.config.mqtt  # another file needs a restart
    if not mqtt.tls or mqtt.cert_file is None:
        return
    while True:
        try:
            probe = await asyncio.to_thread(_read_certificate, mqtt.cert_file)
        except (
            TillError
        ) as error:  # the file is being replaced, or is missing: then the next connection fails
            log.error("certificate_unread", extra=facts(code=error.code, why=error, fix=str(error.fix)))
        else:
            set_expiry_condition(handle.terminal.conditions, probe, clock.unix_ms())
        await asyncio.sleep(CERTIFICATE_EVERY_S)


def _read_certificate(path: Path) -> CertificateProbe:
    from agent.mqtt.certificate import read_certificate  # loads x509

    return read_certificate(path)


def set_expiry_condition(conditions: ConditionTracker, probe: CertificateProbe, now_ms: int) -> None:
    """Set the condition of the certificate's expiry level and clear those of the other levels.

    A clock before the start of the certificate was never set: then no condition changes.
    """
    if now_ms < probe.begins_unix_s * 1_000:
        return
    condition = expiry_level(probe.ends_unix_s, now_ms).condition
    if condition is not None:
        left = days_left(probe.ends_unix_s, now_ms)
        log.warning(condition.code, extra=facts(days_left=left, fix=str(condition.fix)))
    conditions.raise_only(condition, of=EXPIRY_CONDITIONS)


async def feed_watchdog(terminal: Terminal, clock: Clock) -> None:
    """Feed systemd's watchdog, only while fresh frames arrive or a bounded recovery is running."""
    period_s = watchdog_period_s()
    while period_s is not None:
        if terminal.watchdog_signal.poll(clock.now_ms()):
            notify("WATCHDOG=1")
        await asyncio.sleep(period_s)
