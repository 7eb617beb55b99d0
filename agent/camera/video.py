"""Video files (paced on the injected clock) and live streams (paced by their sender), both through OpenCV."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import cv2

from agent.camera.fitting import fitted
from agent.camera.grabber import Remedies
from agent.camera.live_edge import LiveEdge
from agent.camera.pacing import Pacer
from agent.camera.reader import Picture, Reader
from agent.config import CameraConfig
from agent.core.model import Frame
from agent.core.ports import Clock
from agent.errors import CameraError, Retry
from agent.texts import Text

_OPEN_TIMEOUT_MS = 5_000


class VideoFileGrabber:
    """A video file, one of its frames per frame period of ``camera.fps``."""

    remedies: Remedies = ()

    def __init__(self, config: CameraConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._pacer = Pacer(clock, config.fps)
        self._reader = Reader()
        self._seq = 0

    def open(self) -> None:
        """Raises ``CameraError`` when the file is missing or no video."""
        source = self._config.source
        if not Path(source).is_file():
            raise CameraError(
                f"{source}: no such file",
                fix=Text("fix.correct_camera_source"),
            )
        if not self._reader.open(source, cv2.CAP_FFMPEG):
            raise CameraError(
                f"{source}: not a video that OpenCV reads",
                fix=Text("fix.convert_e_g"),
            )
        self._pacer.open()

    def grab(self) -> Frame:
        """Raises ``CameraError`` at the end (unless ``camera.loop``) and on a file without a single frame."""
        self._pacer.wait()
        captured_ms = self._clock.now_ms()
        picture = self._reader.read()
        if picture is None and self._config.loop:
            self._reader.open(self._config.source, cv2.CAP_FFMPEG)
            picture = self._reader.read()
        if picture is None:
            raise CameraError(
                f"{self._config.source}: no more frames",
                fix=Text("fix.set_camera_loop"),
            )
        self._seq += 1
        return _frame(picture, self._seq, captured_ms, self._config, self._config.source)

    def close(self) -> None:
        self._pacer.close()
        self._reader.close()


class StreamGrabber:
    """A live stream (``rtsp://``, ``http://``). Lost streams are opened again after a pause."""

    remedies: Remedies = ()

    def __init__(self, config: CameraConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._reader = Reader()
        self._edge = LiveEdge(0.0)
        self._name = urlsplit(config.source).hostname or "stream"  # the url may carry a password
        self._seq = 0

    def open(self) -> None:
        """Raises ``CameraError`` when nothing answers within 5 s."""
        timeouts = (
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, self._config.stall_ms),
        )
        if not self._reader.open(self._config.source, cv2.CAP_FFMPEG, *timeouts):
            raise self._lost("cannot be opened")
        self._edge = LiveEdge(self._reader.use(lambda capture: capture.get(cv2.CAP_PROP_FPS)) or 0.0)

    def grab(self) -> Frame:
        """The next picture that shows what is; those of before a pause are dropped.

        Raises ``CameraError`` when no picture comes within ``camera.stall_ms``.
        """
        while True:
            began_ms = self._clock.now_ms()
            picture = self._reader.read()
            now_ms = self._clock.now_ms()
            if picture is None:
                raise self._lost("sends no more pictures")
            if self._edge.is_live(now_ms - began_ms):
                self._seq += 1
                return _frame(picture, self._seq, now_ms, self._config, self._name)

    def close(self) -> None:
        self._reader.close()

    def _lost(self, words: str) -> CameraError:
        return CameraError(
            f"stream from {self._name} {words}",
            fix=Text("fix.check_camera_source"),
            retry=Retry.BACKOFF,
        )


def _frame(picture: Picture, seq: int, captured_ms: int, config: CameraConfig, name: str) -> Frame:
    pixels = fitted(picture, config.width_px, config.height_px, name)
    return Frame(pixels, seq, captured_ms, config.width_px, config.height_px)
