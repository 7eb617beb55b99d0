"""Measures this machine after READY, and sets the pace of the terminal. Part of the root.

The measurement runs in the vision thread between two verifications, so no payer waits for it and no analysis
runs beside it. A failure changes nothing: the terminal then serves as configured.
"""

from __future__ import annotations

import asyncio
import logging

from agent.core.pace import Pace, choose
from agent.errors import ModelError
from agent.log import facts
from agent.root.handle import AgentHandle
from agent.vision.detector import Detector

log = logging.getLogger(__name__)

_AFTER_S = 1.0  # the start uses the processor for other work until then


async def adapt_pace(handle: AgentHandle) -> None:
    """Measure once and set the pace, unless ``vision.adapt`` is off: then only measure and report."""
    config, terminal = handle.reload.config, handle.terminal
    await asyncio.sleep(_AFTER_S)
    while terminal.slot.is_taken:  # noqa: ASYNC110 - at most for the seconds of a verification
        await asyncio.sleep(_AFTER_S)
    width_px, fps = config.vision.detector_width_px, config.camera.fps

    def measure() -> Pace:
        detector = handle.analyzer.detector
        if not isinstance(detector, Detector):
            return Pace(width_px, fps)
        look_ms = detector.look_ms(config.camera.width_px, config.camera.height_px)
        pace = choose(look_ms, width_px, fps) if config.vision.adapt else Pace(width_px, fps, look_ms)
        if pace.is_reduced:
            detector.use_width(pace.width_px)
        return pace

    try:
        pace = await asyncio.get_running_loop().run_in_executor(terminal.worker, measure)
    except ModelError as error:
        log.error("speed_not_measured", extra=facts(code=error.code, why=error))
        return
    terminal.use_pace(pace)
    values = facts(look_ms=pace.look_ms, width_px=pace.width_px, fps=pace.fps, reduced=pace.is_reduced)
    log.info("speed_measured", extra=values)
