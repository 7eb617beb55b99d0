"""What happens to a camera in a shop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.camera.troubles import trouble
from agent.errors import CameraError, Retry
from tests.health.stage import Stage, Story


@asynccontextmanager
async def the_cable_is_pulled(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    stage.cable.broken = CameraError("the device is gone", retry=Retry.BACKOFF)
    yield
    stage.cable.broken = None


def broken_as(code: str) -> Story:
    """The driver's own word for it, as the adapters translate it."""

    @asynccontextmanager
    async def story(stage: Stage) -> AsyncIterator[None]:
        await stage.start()
        stage.cable.broken = trouble(code, "the driver says so")
        yield
        stage.cable.broken = None

    return story


@asynccontextmanager
async def no_picture_comes(stage: Stage) -> AsyncIterator[None]:
    """Opening it again helps, as it does for most."""
    await stage.start()
    await stage.until(lambda: stage.running.terminal.counters.frames_seen > 0)
    stage.cable.silent = True
    yield
    stage.cable.silent = False


@asynccontextmanager
async def the_driver_hangs_on_its_last_frame(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    await stage.until(lambda: stage.running.terminal.counters.frames_seen > 0)
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
    "camera_stalled": no_picture_comes,
    "camera_busy": broken_as("camera_busy"),
    "camera_absent": broken_as("camera_absent"),
    "camera_denied": broken_as("camera_denied"),
    "camera_frozen": the_driver_hangs_on_its_last_frame,
    "camera_covered": somebody_hangs_his_coat_over_it,
}
