"""Composition root of the agent: makes, starts and stops the concrete adapters.

Start: lock of the state directory → storage → models and camera → MQTT → READY. Stop, within five seconds:
publish `stopping`, answer the open verification, end the background jobs, publish `offline`, close camera,
connections and storage, release the lock.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.camera.backend import SupportsExposure
from agent.config import Config
from agent.config.secret_files import file_stamps
from agent.control.agent_lock import AgentLock, AgentPhase, hold_lock
from agent.control.page_link import PAGE, PageLinkIssuer
from agent.control.server import StatusServer, path_for
from agent.control.status import status_document
from agent.core.attempt_limits import DAY_MS
from agent.core.policy import PolicyLimits
from agent.core.ports import Camera
from agent.errors import CameraError, ConfigError, StorageError
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions import condition_of
from agent.health.conditions_board import OUTBOX_RESET, PAGE_UNAVAILABLE
from agent.health.conditions_camera import CAMERA_UNAVAILABLE
from agent.health.frame_meter import FrameMeter
from agent.health.notify import notify
from agent.health.probe_results import MountingReading
from agent.live_view.frame_tap import FrameTap
from agent.live_view.live_view import LiveView
from agent.log import facts
from agent.messages.signing import Signer
from agent.outbox.database import FILE, OutboxDamaged
from agent.outbox.outbox import Outbox
from agent.root import wiring
from agent.root.background_jobs import start_background_jobs, status_line
from agent.root.cameras import make_camera, make_frame_check
from agent.root.handle import AgentHandle
from agent.root.opener import Opener
from agent.root.reload import Reload, Source
from agent.root.runnable_config import check_rules, with_location
from agent.root.wiring import BootClock
from agent.tasks import Background
from agent.terminal.parts import Ports
from agent.terminal.results import interrupted_result
from agent.terminal.terminal import Terminal
from agent.terminal.verification_runner import OpenVerification
from agent.texts import Text

log = logging.getLogger(__name__)

Facts = Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Overrides:
    """Parts of the demo and the benchmark that replace the configured parts."""

    camera: Camera | None = None
    adapt: Callable[[Ports], Ports] = lambda ports: ports
    on_ready: Callable[[AgentHandle], None] = lambda _handle: None


async def serve(
    config: Config, stop: asyncio.Event, overrides: Overrides | None = None, source: Source | None = None
) -> None:
    """Serve this terminal until ``stop`` is set; ``source`` requests that a config file is read again.

    READY (systemd, ``on_ready``): the camera delivers frames, and requests are answered once a broker is
    connected. READY never waits for network, broker, API or clock. Raises ``AgentRunsAlready``,
    ``ConfigError``, ``ModelError``, ``StorageError``, ``TillError``: the start failed; no part still runs.
    """
    overrides, source = overrides or Overrides(), source or Source()
    check_rules(config)
    clock, background, changed = BootClock(), Background(), asyncio.Event()
    display = None
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(hold_lock(config.storage.directory))  # first: released last
        if config.display.listen != "off":
            from agent.root.display import DisplayWiring  # loads a web server

            display = DisplayWiring(config, clock)
            overrides = replace(overrides, adapt=display.with_screen_layers(overrides.adapt))
        stack.push_async_callback(background.close)  # also the tasks that a message adds during the stop
        handle = await _start_parts(config, clock, changed.set, overrides, stack)
        facts_of_display = dict if display is None else display.facts
        await _open_status(stack, handle, clock, source.path, facts_of_display)
        _record_phases(stack, lock)
        if display is not None:
            await display.open(stack, handle)
        name = f"{config.site}/{config.terminal}"
        causes = [each.code for each in handle.terminal.conditions.causes]
        notify("READY=1", f"STATUS={status_line(config.site, config.terminal, causes)}")
        log.info("ready", extra=facts(terminal=name, profile=config.profile))
        overrides.on_ready(handle)
        start_background_jobs(background, stop, handle, clock, source, changed)
        stack.push_async_callback(background.close)  # before the parts that the jobs use
        await handle.terminal.serve(stop)
        if handle.outbox.damaged.is_set():
            raise OutboxDamaged(Text("detail.outbox_page_damaged", path=config.storage.directory / FILE))


async def _start_parts(
    config: Config,
    clock: BootClock,
    on_change: Callable[[], None],
    overrides: Overrides,
    stack: AsyncExitStack,
) -> AgentHandle:
    """Make the parts, start camera and MQTT; ``stack`` stops them in reverse order.

    ``on_change``: called after each change of the shown conditions.
    """
    stamps = file_stamps(config)  # before the files are read
    identity, signer = wiring.make_identity(config), Signer.load_or_create(config.storage.directory)
    compare = wiring.make_compare(config, clock)
    stack.push_async_callback(compare.close)
    outbox = wiring.make_outbox(config, identity, clock, signer, compare.clock_offset_ms)
    stack.push_async_callback(outbox.close)
    analyzer = wiring.make_face_analyzer(config)
    conditions, open_verification = ConditionTracker(clock.now_ms, on_change), OpenVerification()
    camera, meter = overrides.camera or make_camera(config.camera, clock), FrameMeter()
    _start_camera(stack, camera, conditions)
    tap = FrameTap(lambda: open_verification.is_open, lambda: open_verification.opened)
    record = wiring.make_recorder(config, clock)
    facts_of_state = wiring.make_state_facts(config, signer, conditions, tap)
    till = wiring.make_till(config, identity, outbox, clock, facts_of_state)
    check_frame = make_frame_check(config.camera, meter, tap)
    adapt_exposure = camera.adapt_exposure if isinstance(camera, SupportsExposure) else lambda _light: None
    ports = Ports(clock, camera, analyzer, compare, till, outbox, check_frame, record, adapt_exposure)
    earlier_calls = await _settle_interrupted(config, outbox, conditions)
    settings = wiring.make_settings(config, identity.epoch, earlier_calls)
    ports = overrides.adapt(ports)
    terminal = stack.enter_context(closing(Terminal(ports, settings, conditions, open_verification)))
    stack.push_async_callback(till.stop)
    await till.start()
    reload = Reload(config, terminal, analyzer, clock)
    used = compare if ports.compare is compare else None
    return AgentHandle(
        terminal, till, signer.public, meter, reload, tap, analyzer, outbox, used, clock.now_ms(), stamps
    )


async def run_until_signal(config: Config, path: Path | None = None) -> None:
    """``serve`` until SIGTERM or SIGINT; after SIGHUP the file at ``path`` is read again."""
    stop, source = asyncio.Event(), Source(path)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, source.requested.set)
    try:
        await serve(config, stop, source=source)
    except ConfigError as error:
        raise (error if path is None else with_location(error, path)) from error


async def _open_status(
    stack: AsyncExitStack, handle: AgentHandle, clock: BootClock, path: Path | None, display_facts: Facts
) -> None:
    """Open the local socket of `facepay status`, `doctor` and `camera`, and the page if it is configured.

    ``path``: the file of the config; ``display_facts``: further facts of the status document.
    """
    terminal, first_config = handle.terminal, handle.reload.config

    def status() -> dict[str, Any]:
        is_open = {"preview_open": handle.frame_tap.watched, "serving": terminal.open_verification.is_open}
        return status_document(handle.reload.config, handle.now(clock)) | is_open | display_facts()

    def check_mounting(pixels: object) -> MountingReading:
        from agent.vision import detector_check  # for the doctor only

        return detector_check.check_mounting(first_config.vision, pixels)

    def limits() -> PolicyLimits:
        return wiring.policy_limits(handle.reload.config)

    live_view = LiveView(handle.frame_tap, handle.analyzer, terminal.worker, limits, check_mounting)
    issuer = PageLinkIssuer(first_config.page.listen)
    if first_config.page.listen != "off":
        from agent.root.page import open_page  # loads a web server

        async def open_listener() -> None:
            read = {key: stamp for key, stamp in file_stamps(first_config).items() if key.startswith("page.")}
            issuer.new_link = await open_page(stack, handle, live_view, status, path)
            handle.stamps.update(read)  # the listener can be opened long after the start

        background = Background()
        stack.push_async_callback(background.close)
        page = Opener("page", open_listener, terminal.conditions, PAGE_UNAVAILABLE)
        if not await page.open():
            background.add(page.retry())
    handlers = {**live_view.handlers, PAGE: issuer.answer}
    server = StatusServer(path_for(first_config.storage.directory), status, handlers)
    stack.push_async_callback(server.close)
    await server.open()


def _record_phases(stack: AsyncExitStack, lock: AgentLock) -> None:
    """For `facepay status`, which finds no socket while the agent starts or stops."""
    lock.record(AgentPhase.SERVING)
    stack.callback(lock.record, AgentPhase.STOPPING)


def _start_camera(stack: AsyncExitStack, camera: Camera, conditions: ConditionTracker) -> None:
    """Start the camera. A failure is a condition only: the frame loop starts the camera again.

    Without a camera the terminal answers requests with the camera's reason code.
    """
    stack.callback(camera.stop)
    try:
        camera.start()
    except CameraError as error:
        log.error("camera_failed", extra=facts(code=error.code, why=error, fix=str(error.fix)))
        conditions.raise_(condition_of(error.code) or CAMERA_UNAVAILABLE)


async def _settle_interrupted(config: Config, outbox: Outbox, conditions: ConditionTracker) -> int:
    """Answer the requests that earlier processes claimed and did not answer; none is resumed.

    Returns the number of paid calls of the last 24 hours.
    """
    assurance = wiring.make_assurance(config)
    for request in await outbox.interrupted_requests():
        log.warning("interrupted", extra=facts(request_id=request.request_id, till=request.till))
        try:
            await outbox.settle(interrupted_result(request, assurance, config.verification.max_asks))
        except StorageError:
            raise
        except Exception:  # one claim must not prevent each start; a repeat of the request answers it
            log.exception("bug_in_interrupted", extra=facts(request_id=request.request_id))
    if outbox.was_damaged:
        conditions.raise_(OUTBOX_RESET)
    return await outbox.calls_within(DAY_MS)
