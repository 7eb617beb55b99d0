"""Composition root of the agent: names the concrete adapters, in the order of their life.

Start: storage → models and camera → MQTT → READY. Stop: `stopping` announced, the open verification answered,
what goes on beside ended, `offline` announced, then camera, connections and storage closed, all within five
seconds.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from agent.config import Config
from agent.core.attempt_limits import DAY_MS
from agent.core.model import Result, Timings
from agent.core.ports import Camera
from agent.core.reasons import Decision, Reason
from agent.errors import CameraError, ConfigError
from agent.health.condition_tracker import ConditionTracker
from agent.health.frame_meter import FrameMeter
from agent.health.notify import notify
from agent.live_view.frame_tap import FrameTap
from agent.log import facts
from agent.messages.signing import Signer
from agent.outbox.outbox import Outbox
from agent.root.background_jobs import attend, open_status
from agent.root.cameras import make_camera
from agent.root.handle import AgentHandle
from agent.root.judge import check_rules, located
from agent.root.reload import Reload, Source
from agent.root.wiring import (
    BootClock,
    make_assurance,
    make_compare,
    make_expose,
    make_eye,
    make_glance,
    make_identity,
    make_keep,
    make_outbox,
    make_settings,
    make_state_facts,
    make_till,
)
from agent.tasks import Background
from agent.terminal.parts import Ports
from agent.terminal.slot import Slot
from agent.terminal.terminal import Terminal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the demo and the benchmark put in the place of the config's choice."""

    camera: Camera | None = None
    adapt: Callable[[Ports], Ports] = lambda ports: ports
    on_ready: Callable[[AgentHandle], None] = lambda _running: None


async def serve(
    config: Config, stop: asyncio.Event, overrides: Overrides | None = None, source: Source | None = None
) -> None:
    """Serve this terminal until ``stop`` is set; ``source`` says when to read which file again.

    READY (systemd, ``on_ready``) means: frames are being taken and requests will be answered as soon as a
    broker is there; it never waits for network, broker, API or clock.

    Raises:
        ConfigError, ModelError, StorageError, TillError: it cannot start; nothing is left running.
    """
    overrides = overrides or Overrides()
    check_rules(config)
    clock, who, background = BootClock(), make_identity(config), Background()
    signer = Signer.load_or_create(config.storage.directory)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(background.close)
        compare = make_compare(config, clock)
        stack.push_async_callback(compare.close)
        outbox = make_outbox(config, who, clock, signer, compare.clock_offset_ms)
        stack.push_async_callback(outbox.close)
        changed, slot, meter = asyncio.Event(), Slot(), FrameMeter()
        eye, conditions = make_eye(config), ConditionTracker(clock.now_ms, changed.set)
        camera, tap = overrides.camera or make_camera(config.camera, clock), FrameTap(lambda: slot.is_taken)
        _start(stack, camera, conditions)
        glance, keep = make_glance(meter, tap), make_keep(config, clock)
        till = make_till(config, who, outbox, clock, make_state_facts(config, signer, conditions, tap))
        ports = Ports(clock, camera, eye, compare, till, outbox, glance, keep, make_expose(camera))
        settings = make_settings(config, who.epoch, await _look_back(config, outbox, conditions, clock))
        terminal = stack.enter_context(closing(Terminal(overrides.adapt(ports), settings, conditions, slot)))
        stack.push_async_callback(till.stop)
        await till.start()
        reload = Reload(config, terminal, eye, clock)
        running = AgentHandle(terminal, till, signer.public, meter, reload, tap, eye, outbox, clock.now_ms())
        await open_status(stack, running, clock)
        _say_ready(config)
        overrides.on_ready(running)
        attend(background, stop, running, clock, source or Source(), changed)
        stack.push_async_callback(background.close)  # before what its tasks use
        await terminal.serve(stop)


async def run_until_signal(config: Config, path: Path | None = None) -> None:
    """``serve`` until SIGTERM or SIGINT; SIGHUP reads the file at ``path`` again."""
    stop, source = asyncio.Event(), Source(path)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, source.asked.set)
    try:
        await serve(config, stop, source=source)
    except ConfigError as error:
        raise (error if path is None else located(error, path)) from error


def _say_ready(config: Config) -> None:
    notify("READY=1", f"STATUS=serving {config.site}/{config.terminal}")
    log.info("ready", extra=facts(terminal=f"{config.site}/{config.terminal}", profile=config.profile))


def _start(stack: AsyncExitStack, camera: Camera, conditions: ConditionTracker) -> None:
    """A terminal without a picture still answers, with the reason; the frame loop starts the camera again."""
    stack.callback(camera.stop)
    try:
        camera.start()
    except CameraError as error:
        log.error("camera_failed", extra=facts(code=error.code, why=error, fix=str(error.fix)))
        conditions.raise_(error.code)


async def _look_back(config: Config, outbox: Outbox, conditions: ConditionTracker, clock: BootClock) -> int:
    """What earlier processes left: requests claimed and never answered are answered now, never resumed.

    Returns how many calls were paid in the last day.
    """
    assurance = make_assurance(config)
    most = config.verification.max_asks  # how many calls were sent is unknown: as many as may have been
    for request in await outbox.interrupted():
        log.warning("interrupted", extra=facts(request_id=request.request_id, till=request.till))
        end = (Decision.UNDECIDED, Reason.INTERRUPTED)
        await outbox.settle(Result(request, *end, 0, None, Timings(), assurance, calls=most))
    if outbox.was_damaged:
        conditions.raise_("outbox_reset")
    return await outbox.asks_since(clock.unix_ms() - DAY_MS)
