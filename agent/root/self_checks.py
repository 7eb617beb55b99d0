"""Checks by the agent itself: compare API without an answered call for a while, board, package, speed.

Part of the root. Without the checks of the API a captive portal, a wrong port or an old key is detected only
by the first payer. A check is ``CompareClient.check``: signed, without a picture, free of charge. At most
four checks a minute.
"""

import asyncio
import logging
import os
from contextlib import suppress

from agent.compare.base import CompareClient
from agent.core.pace import Pace, choose_pace
from agent.core.reasons import Reason
from agent.errors import CompareError, CompareSlow, ModelError
from agent.health.board import EARLIEST_MS, HOT_C, hottest_c, shortage
from agent.health.condition_tracker import ConditionTracker
from agent.health.conditions_board import DISK_LOW, OPEN_FILES_HIGH, TERMINAL_HOT
from agent.health.conditions_compare import CLEARED_BY_ANSWER, CLOCK_OFFSET, COST_LIMIT
from agent.health.process import files_shortage, return_free_memory
from agent.health.upgrades import UPGRADE_CONDITIONS, judge_upgrades, read_upgrades
from agent.log import facts
from agent.root.handle import AgentHandle
from agent.root.wiring import BootClock
from agent.terminal.results import api_condition, raise_api_condition
from agent.texts import Text
from agent.vision.detector import Detector

log = logging.getLogger(__name__)

FIRST_AFTER_S = 3.0
EVERY_S = 60.0  # while all calls are answered
AGAIN_S = 15.0  # while the API's fault lasts
BOARD_EVERY_S = 10.0
UPGRADES_EVERY_S = 60.0
_MEASURED_AFTER_S = 1.0  # the start uses the processor for other work until then
_OFFSET_MAX_MS = 60_000  # a signature lasts 60 s


async def watch_api(handle: AgentHandle, clock: BootClock) -> None:
    """Check the API until cancelled; never during a verification."""
    conditions, compare = handle.terminal.conditions, handle.compare
    pause_s = FIRST_AFTER_S
    while compare is not None:
        await asyncio.sleep(pause_s)
        pause_s = AGAIN_S
        answered_ms = compare.answered_ms
        is_fresh = answered_ms is not None and clock.now_ms() - answered_ms < EVERY_S * 1e3
        if handle.terminal.open_verification.is_open or is_fresh:
            continue
        if await check_once(compare, conditions, handle.reload.config.verification.ask_timeout_ms):
            pause_s = EVERY_S
        _show_offset(conditions, compare.clock_offset_ms(), clock.unix_ms())


async def check_once(compare: CompareClient, conditions: ConditionTracker, timeout_ms: int) -> bool:
    """Check the API and raise or clear its conditions. Returns whether the API answered as it must."""
    try:
        await compare.check(timeout_ms)
    except CompareError as error:
        if error.code == Reason.COMPARE_BUSY:  # the API answers, and limits the rate
            return True
        condition = api_condition(error.code, error.api_code, of_check=True)
        if condition is not None:
            is_slow = isinstance(error, CompareSlow)
            raise_api_condition(conditions, condition, is_slow=is_slow, detail=error.detail)
        return False
    conditions.clear(*(condition for condition in CLEARED_BY_ANSWER if condition != COST_LIMIT))
    return True


def _show_offset(conditions: ConditionTracker, offset_ms: int | None, unix_ms: int) -> None:
    """``offset_ms``: the API's clock minus this clock."""
    if unix_ms < EARLIEST_MS:
        conditions.raise_(CLOCK_OFFSET, Text("detail.clock_never_set"))
    elif offset_ms is not None and abs(offset_ms) >= _OFFSET_MAX_MS:
        side = "detail.clock_behind" if offset_ms > 0 else "detail.clock_ahead"
        conditions.raise_(CLOCK_OFFSET, Text(side, offset_s=abs(offset_ms) // 1_000))
    elif offset_ms is not None:
        conditions.clear(CLOCK_OFFSET)


async def watch_board(handle: AgentHandle) -> None:
    """Raise and clear the conditions of disk, files and temperature; update those that end by time."""
    conditions, directory = handle.terminal.conditions, handle.reload.config.storage.directory
    while True:
        with suppress(OSError):  # the next check reads again
            lack = shortage(await asyncio.to_thread(os.statvfs, directory))
            conditions.update(DISK_LOW, bool(lack), f"{lack} at {directory}")
        lack = files_shortage()
        conditions.update(OPEN_FILES_HIGH, bool(lack), lack)
        hottest = await asyncio.to_thread(hottest_c) or 0.0
        conditions.update(TERMINAL_HOT, hottest >= HOT_C, f"{hottest:.0f} °C")
        handle.terminal.budget.show_pause()
        handle.terminal.view.clear_old()
        handle.terminal.results.show_faults()
        await asyncio.sleep(BOARD_EVERY_S)


async def watch_upgrades(handle: AgentHandle, clock: BootClock) -> None:
    """Raise ``upgrade_failed`` or ``upgrade_missing`` from the stored facts about the package; clear both."""
    while True:
        upgrade_facts = await asyncio.to_thread(read_upgrades)
        problem = (
            judge_upgrades(upgrade_facts, clock.unix_ms() // 1_000) if upgrade_facts is not None else None
        )
        condition, why = problem or (None, "")
        handle.terminal.conditions.raise_only(condition, of=UPGRADE_CONDITIONS, detail=why)
        await asyncio.sleep(UPGRADES_EVERY_S)


async def adapt_pace(handle: AgentHandle) -> None:
    """Measure once and set the pace, unless ``vision.adapt`` is off: then only measure and report.

    The measurement runs in the vision thread between two verifications, so no payer waits for it and no
    analysis runs beside it. A failure changes nothing: the terminal then serves as configured.
    """
    config, terminal = handle.reload.config, handle.terminal
    await asyncio.sleep(_MEASURED_AFTER_S)
    while terminal.open_verification.is_open:  # noqa: ASYNC110 - at most for the seconds of a verification
        await asyncio.sleep(_MEASURED_AFTER_S)
    width_px, fps = config.vision.detector_width_px, config.camera.fps

    def measure() -> Pace:
        detector = handle.analyzer.detector
        if not isinstance(detector, Detector):
            return Pace(width_px, fps)
        detection_ms = detector.detection_ms(config.camera.width_px, config.camera.height_px)
        return_free_memory()  # the detector has all its buffers now
        pace = choose_pace(detection_ms, width_px, fps, may_reduce=config.vision.adapt)
        if pace.is_reduced:
            detector.set_width(pace.width_px)
        return pace

    try:
        pace = await asyncio.get_running_loop().run_in_executor(terminal.worker, measure)
    except ModelError as error:
        log.error("speed_not_measured", extra=facts(code=error.code, why=error))
        return
    terminal.set_pace(pace)
    values = facts(
        detection_ms=pace.detection_ms, width_px=pace.width_px, fps=pace.fps, reduced=pace.is_reduced
    )
    log.info("speed_measured", extra=values)
