"""A wrapper of cv2.VideoCapture that another thread can close.

OpenCV and its FFmpeg write messages to stderr, with the address and the password of a stream. The wrapper
switches these messages off; the errors of the agent report failures.
"""

import os
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.errors import CameraError, Retry
from agent.texts import Text

Picture = NDArray[np.integer | np.floating]
T = TypeVar("T")

_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # key;value|key;value
_FFMPEG_QUIET = "-8"  # AV_LOG_QUIET; read by OpenCV when FFmpeg is first used


class VideoReader:
    """A capture that may be closed while another thread reads.

    OpenCV crashes when a capture is released during a read, so the reading thread releases it then.
    """

    def __init__(self, ffmpeg: Mapping[str, str] = _NO_OPTIONS) -> None:
        """``ffmpeg``: options of FFmpeg itself.

        OpenCV reads the options from the environment only. Each ``open`` replaces the environment variable.
        """
        self._ffmpeg = ffmpeg
        self._lock = threading.Lock()
        self._capture: cv2.VideoCapture | None = None
        self._closing = threading.Event()

    @property
    def is_closing(self) -> bool:
        """Whether ``close`` was called: a loop in ``use`` must end."""
        return self._closing.is_set()

    def open(self, source: str, backend: int, *options: int) -> bool:
        """Whether the capture opened. ``options``: property, value, … as for ``cv2.VideoCapture``."""
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _FFMPEG_QUIET)
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        os.environ.pop(_FFMPEG_OPTIONS, None)  # an option there could switch certificate verification off
        if self._ffmpeg:
            ffmpeg = (f"{key};{_escaped(value)}" for key, value in self._ffmpeg.items())
            os.environ[_FFMPEG_OPTIONS] = "|".join(ffmpeg)
        with self._lock:
            self._closing.clear()
            if self._capture is not None:
                self._capture.release()
            self._capture = cv2.VideoCapture(source, backend, options)
            return self._capture.isOpened()

    def use(self, function: Callable[[cv2.VideoCapture], T]) -> T | None:
        """The result of ``function`` on the capture; None when closed.

        Raises:
            CameraError: OpenCV raised an error.
        """
        with self._lock:
            if self._capture is None or self.is_closing:
                return None
            try:
                return function(self._capture)
            except cv2.error as error:
                raise CameraError(
                    Text("detail.opencv_cannot_read", err=error.err), retry=Retry.BACKOFF
                ) from error

    def read(self) -> Picture | None:
        """The next picture; None at the end, on a time-out, for an undecodable picture, and when closed."""
        is_read, picture = self.use(lambda capture: capture.read()) or (False, None)
        return picture if is_read else None

    def close(self) -> None:
        """Release now. During a read the reading thread releases, with its own later ``close``."""
        self._closing.set()
        if self._lock.acquire(blocking=False):
            try:
                if self._capture is not None:
                    self._capture.release()
                    self._capture = None
            finally:
                self._lock.release()


def _escaped(value: str) -> str:
    """Escaped for FFmpeg's av_get_token: after a backslash the next character does not end the value."""
    return "".join(f"\\{char}" if char in "\\';| " else char for char in value)
