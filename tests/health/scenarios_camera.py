"""Faults of the camera."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import cv2
import numpy as np

from agent.camera.errors import from_os_error
from agent.errors import CameraError, Retry
from agent.health.frame_meter import VERIFICATIONS_MIN
from tests.health.stage import WAIT_S, Scenario, Stage

UNDECIDED_TTL_MS = 2_000  # such a verification ends at its deadline


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


@asynccontextmanager
async def lamp_shines_into_the_lens(stage: Stage) -> AsyncIterator[None]:
    await stage.start()
    stage.cable.change = lambda pixels: pixels // 8 + 224
    yield
    stage.cable.change = lambda pixels: pixels


def several_verifications_see(change: Callable[[Any], Any]) -> Scenario:
    """Each frame is changed; only several verifications in a row show the fault."""

    @asynccontextmanager
    async def scenario(stage: Stage) -> AsyncIterator[None]:
        await stage.start()
        stage.cable.change = change
        async with asyncio.timeout(WAIT_S):
            while not stage.causes():  # a verification without an analyzed frame shows nothing
                assert (await stage.verify(UNDECIDED_TTL_MS)).startswith("undecided/")
        assert stage.requests >= VERIFICATIONS_MIN
        yield
        stage.cable.change = lambda pixels: pixels
        assert await stage.verify() == "match/same_person"

    return scenario


def _smaller(pixels: Any) -> Any:
    """The complete picture at a third of its size, in front of a grey wall."""
    high, wide = pixels.shape[:2]
    wall = np.full_like(pixels, 120)
    wall[high // 3 : high // 3 + high // 3, wide // 3 : wide // 3 + wide // 3] = cv2.resize(
        pixels, (wide // 3, high // 3), interpolation=cv2.INTER_AREA
    )
    return wall


def _twice(pixels: Any) -> Any:
    """The middle half of the picture, twice: a second face, as on a poster behind the payer."""
    wide = pixels.shape[1]
    middle = pixels[:, wide // 4 : wide // 4 + wide // 2]
    return np.hstack([middle, middle])


SCENARIOS: dict[str, Scenario] = {
    "camera_unavailable": camera_cable_is_unplugged,
    "camera_stalled": camera_delivers_no_frame_after_each_open,
    "camera_busy": kernel_refuses_the_device(errno.EBUSY),
    "camera_absent": kernel_refuses_the_device(errno.ENODEV),
    "camera_denied": kernel_refuses_the_device(errno.EACCES),
    "camera_frozen": driver_repeats_the_last_frame,
    "camera_covered": lens_is_covered,
    "camera_overexposed": lamp_shines_into_the_lens,
    "camera_blurred": several_verifications_see(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 5)),
    "camera_too_far": several_verifications_see(_smaller),
    "camera_no_face": several_verifications_see(lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180)),
    "camera_faces_unusable": several_verifications_see(_twice),
}
