"""Faults of the camera."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.camera.errors import from_os_error
from agent.errors import CameraError, Retry
from tests.health.stage import Scenario, Stage


async def _frames(stage: Stage) -> None:
    """Wait for some frames: a restarted scene repeats its first frames and must not count as frozen."""
    await stage.start()
    await stage.until(lambda: stage.running.terminal.counters.frames_handled > 3)


@asynccontextmanager
async def camera_cable_is_unplugged(stage: Stage) -> AsyncIterator[None]:
    await _frames(stage)
    stage.cable.broken = CameraError("the device is gone", retry=Retry.BACKOFF)
    yield
    stage.cable.broken = None


@asynccontextmanager
async def camera_delivers_no_frame_after_each_open(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    stage.cable.silent = True
    yield
    stage.cable.silent = False


def kernel_refuses_the_device(number: int) -> Scenario:
    """The errno of opening the device: absent, busy, denied."""

    @asynccontextmanager
    async def scenario(stage: Stage) -> AsyncIterator[None]:
        await stage.start()
        stage.cable.broken = from_os_error("/dev/video0", OSError(number, os.strerror(number)))
        yield
        stage.cable.broken = None

    return scenario


@asynccontextmanager
async def driver_repeats_the_last_frame(stage: Stage) -> AsyncIterator[None]:
    await _frames(stage)
    stage.cable.frozen = True
    yield
    stage.cable.frozen = False


@asynccontextmanager
async def lens_is_covered(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    stage.light(0.0)
    yield
    stage.light(1.0)


SCENARIOS: dict[str, Scenario] = {
    "camera_unavailable": camera_cable_is_unplugged,
    "camera_stalled": camera_delivers_no_frame_after_each_open,
    "camera_busy": kernel_refuses_the_device(errno.EBUSY),
    "camera_absent": kernel_refuses_the_device(errno.ENODEV),
    "camera_denied": kernel_refuses_the_device(errno.EACCES),
    "camera_frozen": driver_repeats_the_last_frame,
    "camera_covered": lens_is_covered,
}
