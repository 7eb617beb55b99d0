"""Video files (paced on the injected clock) and live streams (paced by their sender), both through OpenCV."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.camera.fitting import fitted
from agent.camera.grabber import Remedies
from agent.camera.pacing import Pacer
from agent.config import CameraConfig
from agent.core.model import Frame
from agent.core.ports import Clock
from agent.errors import CameraError, Retry

_OPEN_TIMEOUT_MS = 5_000


class _Reader:
    """cv2.VideoCapture that may be closed while another thread reads: releasing it under a read crashes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._capture: cv2.VideoCapture | None = None

    def open(self, source: str, *options: int) -> bool:
        with self._lock:
            self._capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, options)
            return self._capture.isOpened()

    def read(self) -> NDArray[np.integer | np.floating] | None:
        """The next picture; None at the end, on a time-out, on an undecodable one, or when closed."""
        with self._lock:
            done, picture = self._capture.read() if self._capture else (False, None)
            return picture if done else None

    def close(self) -> None:
        """Release now, or leave it to the reading thread, whose own ``close`` follows."""
        if self._lock.acquire(blocking=False):
            if self._capture is not None:
                self._capture.release()
                self._capture = None
            self._lock.release()


class VideoFileGrabber:
    """A video file, one of its frames per frame period of ``camera.fps``."""

    remedies: Remedies = ()

    def __init__(self, config: CameraConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._pacer = Pacer(clock, config.fps)
        self._reader = _Reader()
        self._seq = 0

    def open(self) -> None:
        """Raises ``CameraError`` when the file is missing or no video."""
        source = self._config.source
        if not Path(source).is_file():
            raise CameraError(f"{source}: no such file", fix="Correct camera.source.")
        if not self._reader.open(source):
            raise CameraError(
                f"{source}: not a video that OpenCV reads", fix="Convert it, e.g. to MJPEG in .avi."
            )
        self._pacer.open()

    def grab(self) -> Frame:
        """Raises ``CameraError`` at the end (unless ``camera.loop``) and on a file without a single frame."""
        self._pacer.wait()
        captured_ms = self._clock.now_ms()
        picture = self._reader.read()
        if picture is None and self._config.loop:
            self._reader.open(self._config.source)
            picture = self._reader.read()
        if picture is None:
            raise CameraError(
                f"{self._config.source}: no more frames",
                fix="Set camera.loop = true to start over at the end.",
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
        self._reader = _Reader()
        self._name = urlsplit(config.source).hostname or "stream"  # the url may carry a password
        self._seq = 0

    def open(self) -> None:
        """Raises ``CameraError`` when nothing answers within 5 s."""
        timeouts = (
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, self._config.stall_ms),
        )
        if not self._reader.open(self._config.source, *timeouts):
            raise self._lost("cannot be opened")

    def grab(self) -> Frame:
        """Raises ``CameraError`` when no picture comes within ``camera.stall_ms``."""
        picture = self._reader.read()
        if picture is None:
            raise self._lost("sends no more pictures")
        self._seq += 1
        return _frame(picture, self._seq, self._clock.now_ms(), self._config, self._name)

    def close(self) -> None:
        self._reader.close()

    def _lost(self, words: str) -> CameraError:
        return CameraError(
            f"stream from {self._name} {words}",
            fix="Check camera.source, the network, and that the sender runs.",
            retry=Retry.BACKOFF,
        )


def _frame(
    picture: NDArray[np.integer | np.floating], seq: int, captured_ms: int, config: CameraConfig, name: str
) -> Frame:
    pixels = fitted(picture, config.width_px, config.height_px, name)
    return Frame(pixels, seq, captured_ms, config.width_px, config.height_px)
