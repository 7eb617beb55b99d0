"""Frames for measuring: drawn beforehand, handed out at a pace, so that drawing does not count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent.camera.scene import Scene, load_scene
from agent.camera.stage import Props, Stage
from agent.core.model import Frame
from agent.wiring import BootClock

WIDTH_PX, HEIGHT_PX = 1280, 720
Pixels = NDArray[np.uint8]


def drawn(
    scene: str | Scene, start_ms: int = 0, count: int = 20, step_ms: int = 100, seed: int = 1
) -> list[Pixels]:
    """``count`` pictures of a scene."""
    stage = Stage(load_scene(scene) if isinstance(scene, str) else scene, WIDTH_PX, HEIGHT_PX, seed, Props())
    return [stage.picture(start_ms + number * step_ms) for number in range(count)]


def frame(pixels: Pixels, seq: int, captured_ms: int | None = None) -> Frame:
    at_ms = BootClock().now_ms() if captured_ms is None else captured_ms
    return Frame(pixels, seq, at_ms, WIDTH_PX, HEIGHT_PX)


class LoopCamera:
    """``core.ports.Camera`` without a thread: pictures in turn at ``fps``; ``show`` changes them."""

    def __init__(self, pictures: Sequence[Pixels], fps: float) -> None:
        self._pictures = pictures
        self._period_s = 1 / fps
        self._next_s = 0.0
        self._seq = 0

    def show(self, pictures: Sequence[Pixels]) -> None:
        self._pictures = pictures

    def start(self) -> None:
        self._next_s = time.monotonic()

    async def next_frame(self, after_seq: int) -> Frame:
        self._next_s = max(self._next_s + self._period_s, time.monotonic() - self._period_s)
        await asyncio.sleep(max(0.0, self._next_s - time.monotonic()))
        self._seq = max(self._seq, after_seq) + 1
        return frame(self._pictures[self._seq % len(self._pictures)], self._seq)

    def stop(self) -> None: ...
