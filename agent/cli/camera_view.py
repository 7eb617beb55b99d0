"""The picture source of `facepay camera`: the running agent, or the camera where no agent runs."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.cli.config import load_config
from agent.config import Config
from agent.control.camera import AnnotatedPicture, request_lens, request_shot
from agent.control.server import path_for, request_status
from agent.core.model import Frame
from agent.errors import AgentNotRunning
from agent.health.probe_results import LensReading
from agent.live_view.lens_meter import measure_lens
from agent.live_view.live_view import annotated_picture
from agent.root.cameras import make_camera
from agent.root.wiring import BootClock, make_face_analyzer, policy_limits

_SETTLE_MS = 1_000  # a sensor adjusts its exposure in the first second


@dataclass(frozen=True, slots=True)
class View:
    """A picture source. Both functions raise ``CameraError``; a running agent may also refuse."""

    shot: Callable[[], AnnotatedPicture]
    lens: Callable[[], LensReading]


@contextmanager
def open_view(config: Path | None) -> Iterator[View]:
    """Open the picture source. A running agent keeps its camera, also if the agent hangs or denies access.

    Raises ``ConfigError``, ``CameraError``, ``StatusError``.
    """
    loaded = load_config(config)
    path = path_for(loaded.storage.directory)
    try:
        request_status(path)
    except AgentNotRunning:
        with _own_view(loaded) as view:
            yield view
    else:
        yield View(partial(request_shot, path), partial(request_lens, path))


@contextmanager
def _own_view(config: Config) -> Iterator[View]:
    """Pictures of the camera, opened by this process because no agent runs."""
    clock, seq = BootClock(), 0
    camera = make_camera(config.camera, clock)

    def next_frame() -> Frame:
        nonlocal seq
        frame = runner.run(camera.next_frame(seq))
        seq = frame.seq
        return frame

    def shot() -> AnnotatedPicture:
        return annotated_picture(make_face_analyzer(config), policy_limits(config), next_frame())

    def lens() -> LensReading:
        frame = next_frame()
        return measure_lens(frame.pixels, frame.metadata)

    with asyncio.Runner() as runner:
        try:
            camera.start()
            until_ms = clock.now_ms() + _SETTLE_MS
            while clock.now_ms() < until_ms:
                next_frame()
            yield View(shot, lens)
        finally:
            camera.stop()  # also after a failed start: the camera's thread keeps trying to open the camera
