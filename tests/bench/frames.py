"""Frames for the measurements. Drawing is not measured: frames are drawn before, or in a separate process."""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from agent.camera.simulated.renderer import SceneRenderer, SpriteCache
from agent.camera.simulated.scene import Scene, load_scene
from agent.core.model import Frame
from agent.root.wiring import BootClock
from tests.bench.cost import cpu_s

WIDTH_PX, HEIGHT_PX = 1280, 720
EMPTY_SCENE = "empty"
Pixels = NDArray[np.uint8]

_SHAPE = (24, HEIGHT_PX, WIDTH_PX, 3)  # images shared between two processes
_VALID_IMAGES = 16  # delivered images that stay unchanged: a shot is held for at most 1.6 s


def _renderer(scene: str | Scene, seed: int) -> SceneRenderer:
    return SceneRenderer(
        load_scene(scene) if isinstance(scene, str) else scene, WIDTH_PX, HEIGHT_PX, seed, SpriteCache()
    )


def drawn(
    scene: str | Scene, start_ms: int = 0, count: int = 20, step_ms: int = 100, seed: int = 1
) -> list[Pixels]:
    """``count`` images of a scene, ``step_ms`` apart."""
    renderer = _renderer(scene, seed)
    return [renderer.picture(start_ms + number * step_ms) for number in range(count)]


def frame(pixels: Pixels, seq: int, captured_ms: int | None = None) -> Frame:
    at_ms = BootClock().now_ms() if captured_ms is None else captured_ms
    return Frame(pixels, seq, at_ms, WIDTH_PX, HEIGHT_PX)


class DrawnScene:
    """A scene, drawn in order by a separate process into a shared file, ahead of the consumer.

    An image stays unchanged until 16 more have been taken. After the last image the last image is repeated.
    """

    def __init__(self, scene: Path, start_s: float, seconds: float, fps: float) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "pictures"
        self._slots = np.memmap(file, np.uint8, "w+", shape=_SHAPE)
        self._ready, self._free = spawn.Semaphore(0), spawn.Semaphore(_SHAPE[0] - _VALID_IMAGES)
        times_ms = [round(1e3 * (start_s + number / fps)) for number in range(round(seconds * fps))]
        self._count, self._taken = len(times_ms), 0
        self._process = spawn.Process(
            target=_draw, args=(str(scene), times_ms, file, self._ready, self._free), daemon=True
        )
        self._process.start()
        self._ready.acquire()  # wait for the first image
        self._ready.release()

    def take(self) -> Pixels:
        """The next image; waits until the image is drawn."""
        if self._taken < self._count:
            self._ready.acquire()
            self._free.release()
            self._taken += 1
        return np.asarray(self._slots[(self._taken - 1) % _SHAPE[0]])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()
        self._folder.cleanup()


def _draw(scene: str, times_ms: Sequence[int], file: Path, ready: Semaphore, free: Semaphore) -> None:
    """The drawing process."""
    slots, renderer = np.memmap(file, np.uint8, "r+", shape=_SHAPE), _renderer(scene, seed=1)
    for number, at_ms in enumerate(times_ms):
        free.acquire()
        slots[number % _SHAPE[0]] = renderer.picture(at_ms)
        ready.release()


class LoopCamera:
    """``core.ports.Camera`` without a thread: the images of ``take`` at ``fps``; ``show`` replaces them."""

    def __init__(self, take: Callable[[], Pixels], fps: float) -> None:
        self._take = take
        self._period_s = 1 / fps
        self._next_s = 0.0
        self._seq = 0

    @classmethod
    def of(cls, pictures: Sequence[Pixels], fps: float) -> LoopCamera:
        """A camera that repeats these images."""
        return cls(cycle(pictures).__next__, fps)

    def show(self, pictures: Sequence[Pixels]) -> None:
        self._take = cycle(pictures).__next__

    def start(self) -> None:
        self._next_s = time.monotonic()

    async def next_frame(self, after_seq: int) -> Frame:
        self._next_s = max(self._next_s + self._period_s, time.monotonic() - self._period_s)
        await asyncio.sleep(max(0.0, self._next_s - time.monotonic()))
        self._seq = max(self._seq, after_seq) + 1
        return frame(self._take(), self._seq)

    def stop(self) -> None: ...


async def frames_alone(camera: LoopCamera, count: int) -> float:
    """CPU seconds for the delivery of ``count`` frames to a consumer that discards them."""
    start_s, seq = cpu_s(), 0
    for _ in range(count):
        seq = (await camera.next_frame(seq)).seq
    return cpu_s() - start_s
