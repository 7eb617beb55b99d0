"""The picture source of `facepay camera`: the running agent, or the camera where no agent runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from agent.cli.config import path_of
from agent.config import Config
from agent.config.file import load
from agent.control.camera import AnnotatedShot, request_lens, request_shot
from agent.control.server import path_for, request_status
from agent.core.model import Frame
from agent.core.ports import Camera
from agent.errors import AgentAway, AgentError, CameraError
from agent.health.probe_results import LensReading
from agent.live_view.lens_meter import measure_lens
from agent.live_view.live_view import annotated_shot
from agent.root.cameras import make_camera
from agent.root.wiring import BootClock, make_face_analyzer, policy_limits

_SETTLE_MS = 1_000  # a sensor adjusts its exposure in the first second
_FILE_MODE = 0o600


class View(Protocol):
    def shot(self) -> AnnotatedShot: ...

    def lens(self) -> LensReading: ...


class AgentsView:
    """Pictures of the running agent, which owns the camera and may refuse."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def shot(self) -> AnnotatedShot:
        return request_shot(self._path)

    def lens(self) -> LensReading:
        return request_lens(self._path)


class OwnView:
    """Pictures of the camera, opened by this process because no agent runs."""

    def __init__(self, config: Config, camera: Camera) -> None:
        self._config = config
        self._camera = camera
        self._runner = asyncio.Runner()
        self._seq = 0

    def settle(self) -> None:
        clock = BootClock()
        until_ms = clock.now_ms() + _SETTLE_MS
        while clock.now_ms() < until_ms:
            self._frame()

    def shot(self) -> AnnotatedShot:
        return annotated_shot(make_face_analyzer(self._config), policy_limits(self._config), self._frame())

    def lens(self) -> LensReading:
        frame = self._frame()
        return measure_lens(frame.pixels, frame.metadata)

    def close(self) -> None:
        self._camera.stop()
        self._runner.close()

    def _frame(self) -> Frame:
        frame = self._runner.run(self._camera.next_frame(self._seq))
        self._seq = frame.seq
        return frame


@contextmanager
def open_view(config: Path | None) -> Iterator[View]:
    """Open the picture source. A running agent keeps its camera, also if the agent hangs or denies access.

    Raises:
        ConfigError, CameraError, StatusError.
    """
    loaded = load(path_of(config), Config)
    path = path_for(loaded.storage.directory)
    try:
        request_status(path)
    except AgentAway:
        view = _own(loaded)
        try:
            view.settle()
            yield view
        finally:
            view.close()
    else:
        yield AgentsView(path)


def _own(config: Config) -> OwnView:
    camera = make_camera(config.camera, BootClock())
    try:
        camera.start()
    except CameraError:
        camera.stop()  # otherwise the camera's thread keeps trying to open it
        raise
    return OwnView(config, camera)


def write_new(path: Path, content: bytes) -> None:
    """Write a new file, readable by its owner only. Follows no link.

    Raises:
        AgentError: ``file_exists``, ``file_unwritable``.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FILE_MODE)
    except FileExistsError as error:
        raise AgentError(f"{path} exists already", code="file_exists") from error
    except OSError as error:
        raise AgentError(f"{path}: {error.strerror}", code="file_unwritable") from error
    with os.fdopen(handle, "wb") as file:
        file.write(content)
