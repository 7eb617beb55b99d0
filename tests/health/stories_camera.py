"""What happens to a camera in a shop."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.camera.errors import from_os_error
from agent.errors import CameraError, Retry
from tests.health.stage import Stage, Story


async def _pictures(stage: Stage) -> None:
    """Some of them: a scene that starts anew is to the bit what it was, and must not seem to stand still."""
    await stage.start()
    await stage.until(lambda: stage.running.terminal.counters.frames_seen > 3)


@asynccontextmanager
async def the_cable_is_pulled(stage: Stage) -> AsyncIterator[None]:
    await _pictures(stage)
    stage.cable.broken = CameraError("the device is gone", retry=Retry.BACKOFF)
    yield
    stage.cable.broken = None


@asynccontextmanager
async def it_falls_silent_however_often_it_is_opened(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    stage.cable.silent = True
    yield
    stage.cable.silent = False


def the_kernel_refuses(number: int) -> Story:
    """What opening a device answers: nothing there, taken, not allowed."""

    @asynccontextmanager
    async def story(stage: Stage) -> AsyncIterator[None]:
        await stage.start()
        stage.cable.broken = from_os_error("/dev/video0", OSError(number, os.strerror(number)))
        yield
        stage.cable.broken = None

    return story


@asynccontextmanager
async def the_driver_hangs_on_its_last_frame(stage: Stage) -> AsyncIterator[None]:
    await _pictures(stage)
    stage.cable.frozen = True
    yield
    stage.cable.frozen = False


@asynccontextmanager
async def somebody_hangs_his_coat_over_it(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    stage.light(0.0)
    yield
    stage.light(1.0)


STORIES: dict[str, Story] = {
    "camera_unavailable": the_cable_is_pulled,
    "camera_stalled": it_falls_silent_however_often_it_is_opened,
    "camera_busy": the_kernel_refuses(errno.EBUSY),
    "camera_absent": the_kernel_refuses(errno.ENODEV),
    "camera_denied": the_kernel_refuses(errno.EACCES),
    "camera_frozen": the_driver_hangs_on_its_last_frame,
    "camera_covered": somebody_hangs_his_coat_over_it,
}
