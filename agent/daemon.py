"""Composition root of the agent: names the concrete adapters, in the order of their life.

Start: storage → models and camera → MQTT → READY. Stop: `stopping` announced, the open verification answered,
`offline` announced, then camera, connections and storage closed, all within five seconds.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from agent.camera.factory import make_camera
from agent.config import Config
from agent.core.guard import DAY_MS
from agent.core.model import Assurance, Result, Timings
from agent.core.ports import Camera
from agent.core.reasons import Decision, Reason
from agent.diagnostics.document import Now, document
from agent.diagnostics.socket import StatusServer, path_for
from agent.errors import CameraError
from agent.health.counters import snapshot
from agent.health.frames import FrameMeter
from agent.health.notify import notify, watchdog_period_s
from agent.health.tracker import CAMERA, Tracker
from agent.log import facts
from agent.parts import Ports
from agent.profile import check_profile
from agent.recorder.traces import TraceFiles
from agent.secret_files import check_secret_files
from agent.tasks import Background
from agent.terminal import Terminal
from agent.till.mqtt_till import MqttTill
from agent.till.outbox import Outbox
from agent.till.signing import PublicKey, Signer
from agent.vision.luma import LumaWatch
from agent.wiring import (
    BootClock,
    make_assurance,
    make_compare,
    make_eye,
    make_identity,
    make_keep,
    make_outbox,
    make_settings,
    make_state_facts,
    make_till,
    make_trace_files,
)

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


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the demo and the benchmark put in the place of the config's choice."""

    camera: Camera | None = None
    adapt: Callable[[Ports], Ports] = lambda ports: ports
    on_ready: Callable[[Running], None] = lambda _running: None


async def serve(config: Config, stop: asyncio.Event, overrides: Overrides | None = None) -> None:
    """Serve this terminal until ``stop`` is set.

    READY (systemd, ``on_ready``) means: frames are being taken and requests will be answered as soon as a
    broker is there; it never waits for network, broker, API or clock.

    Raises:
        ConfigError, ModelError, StorageError, TillError: it cannot start; nothing is left running.
    """
    overrides = overrides or Overrides()
    _check(config)
    clock, who, background = BootClock(), make_identity(config), Background()
    signer = Signer.load_or_create(config.storage.directory)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(background.close)
        compare = make_compare(config, clock)
        stack.push_async_callback(compare.close)
        outbox = make_outbox(config, who, clock, signer, compare.clock_offset_ms)
        stack.push_async_callback(outbox.close)
        eye, conditions = make_eye(config), Tracker()
        camera, meter = overrides.camera or make_camera(config.camera, clock), FrameMeter(LumaWatch().look)
        _start(stack, camera, conditions)
        till = make_till(config, who, outbox, clock, make_state_facts(config, signer, conditions))
        ports = Ports(clock, camera, eye, compare, till, outbox, meter.look, make_keep(config, clock))
        await _settle_interrupted(outbox, make_assurance(config))
        settings = make_settings(config, who.epoch, await outbox.asks_since(clock.unix_ms() - DAY_MS))
        terminal = Terminal(overrides.adapt(ports), settings, conditions)
        if outbox.was_damaged:
            conditions.raise_("outbox_reset")
        stack.push_async_callback(till.stop)
        await till.start()
        conditions.on_change = lambda: background.add(till.announce())
        running = Running(terminal, till, signer.public, meter)
        await _open_status(stack, config, running, clock)
        notify("READY=1", f"STATUS=serving {config.site}/{config.terminal}")
        log.info("ready", extra=facts(terminal=f"{config.site}/{config.terminal}", profile=config.profile))
        overrides.on_ready(running)
        _attend(background, stop, running, clock, config)
        await terminal.serve(stop)


async def run_until_signal(config: Config) -> None:
    """``serve`` until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, stop)


def _check(config: Config) -> None:
    check_profile(config)
    check_secret_files(config)


def _attend(
    background: Background, stop: asyncio.Event, running: Running, clock: BootClock, config: Config
) -> None:
    """What goes on beside serving, until the end."""
    background.add(_drop_old_traces(make_trace_files(config), clock))
    background.add(_feed_watchdog(running.terminal))
    background.add(_say_stopping(stop, running.till))
    background.add(_report_health(running, clock))


def _start(stack: AsyncExitStack, camera: Camera, conditions: Tracker) -> None:
    """A terminal without a picture still answers, with the reason; the frame loop starts the camera again."""
    stack.callback(camera.stop)
    try:
        camera.start()
    except CameraError as error:
        log.error("camera_failed", extra=facts(code=error.code, why=error, fix=error.fix))
        conditions.raise_(error.code)


async def _settle_interrupted(outbox: Outbox, assurance: Assurance) -> None:
    """Requests an earlier process claimed and never answered: answered now, never resumed."""
    for request in await outbox.interrupted():
        log.warning("interrupted", extra=facts(request_id=request.request_id, till=request.till))
        await outbox.settle(
            Result(request, Decision.UNDECIDED, Reason.INTERRUPTED, 0, None, Timings(), assurance)
        )


async def _say_stopping(stop: asyncio.Event, till: MqttTill) -> None:
    await stop.wait()
    notify("STOPPING=1")
    await till.announce("stopping")


async def _open_status(stack: AsyncExitStack, config: Config, running: Running, clock: BootClock) -> None:
    """For `facepay status` and `facepay doctor`, over a local socket."""
    started_ms = clock.now_ms()

    def status() -> dict[str, Any]:
        terminal, till = running.terminal, running.till
        camera = running.meter.facts(clock.now_ms())
        uptime_s = (clock.now_ms() - started_ms) // 1_000
        conditions, counters = terminal.conditions.active, terminal.counters
        depth = till.courier.depth
        return document(config, Now(uptime_s, conditions, counters, camera, till.link.connected, depth))

    server = StatusServer(path_for(config.storage.directory), status)
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
