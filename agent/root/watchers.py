"""The jobs that watch while the agent serves: disk, certificate, watchdog, conditions, health, traces."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from agent.control.status import health_facts
from agent.core.ports import Clock
from agent.errors import StorageError, TillError
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import STORAGE_UNAVAILABLE
from agent.health.disk import is_read_only
from agent.health.expiry import EXPIRY_CONDITIONS, days_left, expiry_level
from agent.health.notify import notify, watchdog_period_s
from agent.health.probe_results import CertificateProbe
from agent.log import facts
from agent.messages.signing import KEY_FILE
from agent.recorder.traces import TraceFiles
from agent.root.handle import AgentHandle
from agent.root.wiring import BootClock
from agent.tasks import Background
from agent.terminal.terminal import Terminal
from agent.till.adapter import MqttTill

log = logging.getLogger(__name__)

HEALTH_EVERY_S = 60.0
LOOK_AGAIN_S = 0.5
TRACES_EVERY_S = 3_600.0
STORAGE_EVERY_S = 10.0
CERTIFICATE_EVERY_S = 3_600.0  # one small file; and a clock that was wrong at the start is right by then


async def announce_changes(changed: asyncio.Event, till: MqttTill, background: Background) -> None:
    """Publish ``state`` after each change of the conditions; changes in quick succession are one message."""
    while True:
        await changed.wait()
        changed.clear()
        background.add(till.announce())  # a publish may wait for its broker; the next change does not


async def report_health(running: AgentHandle, clock: BootClock) -> None:
    """For the back office, every minute; the first a minute after the start."""
    while True:
        await asyncio.sleep(HEALTH_EVERY_S)
        try:
            await running.till.report(health_facts(running.now(clock)))
        except OSError as error:  # /proc cannot be read just now: the next minute has other numbers
            log.warning("health_not_told", extra=facts(why=error))


async def drop_old_traces(files: TraceFiles, clock: BootClock) -> None:
    """Also when nothing is recorded any more: a promise of days holds for what lies there already."""
    while True:
        try:
            await asyncio.to_thread(files.prune, clock.unix_ms())
        except OSError as error:
            log.error("old_traces_kept", extra=facts(why=error))
        await asyncio.sleep(TRACES_EVERY_S)


async def look_again(conditions: ConditionTracker) -> None:
    """For what becomes visible by lasting: nothing happens then that would tell."""
    while True:
        await asyncio.sleep(LOOK_AGAIN_S)
        conditions.refresh()


async def watch_storage(running: AgentHandle) -> None:
    """Says that the disk went read-only before a payer has to find out, and that it is mended without one.

    A look writes nothing, since a card wears by writing; what was amiss is over when a write has succeeded.
    """
    conditions, key = running.terminal.conditions, running.reload.config.storage.directory / KEY_FILE
    while True:
        await asyncio.sleep(STORAGE_EVERY_S)
        if STORAGE_UNAVAILABLE in conditions.active:
            with suppress(StorageError):  # it holds already
                await running.outbox.prove()
                conditions.clear(STORAGE_UNAVAILABLE)
        elif await asyncio.to_thread(is_read_only, key):
            log.error("storage_failed", extra=facts(why=f"{key.parent} went read-only"))
            conditions.raise_(STORAGE_UNAVAILABLE)


async def watch_certificate(running: AgentHandle, clock: BootClock) -> None:
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
            say_how_near(running.terminal.conditions, seen, clock.unix_ms())
        await asyncio.sleep(CERTIFICATE_EVERY_S)


def _look_at_certificate(path: Path) -> CertificateProbe:
    from agent.mqtt.certificate import look  # x509 is for those who have one

    return look(path)


def say_how_near(conditions: ConditionTracker, seen: CertificateProbe, now_ms: int) -> None:
    """A clock before the certificate's beginning was never set: it tells nothing, so nothing is changed."""
    if now_ms < seen.begins_unix_s * 1_000:
        return
    condition = expiry_level(seen.ends_unix_s, now_ms).condition
    if condition is not None:
        left = days_left(seen.ends_unix_s, now_ms)
        log.warning(condition.code, extra=facts(days_left=left, fix=str(condition.fix)))
        conditions.raise_(condition)
    conditions.clear(*(each for each in EXPIRY_CONDITIONS if each != condition))


async def feed_watchdog(terminal: Terminal, clock: Clock) -> None:
    """Feed systemd's watchdog while fresh frames arrive or a bounded recovery is under way, only then."""
    period_s = watchdog_period_s()
    while period_s is not None:
        if terminal.pulse.beats(clock.now_ms()):
            notify("WATCHDOG=1")
        await asyncio.sleep(period_s)
