"""cv2.VideoCapture for threads that may hang: where the capture thread meets OpenCV's video input.

OpenCV and its FFmpeg write to stderr what they think, a stream's address with the password in it included.
They are told to be silent; what went wrong is said by our own errors.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.errors import CameraError, Retry

Picture = NDArray[np.integer | np.floating]
T = TypeVar("T")

_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # key;value|key;value
_FFMPEG_QUIET = "-8"  # AV_LOG_QUIET; read by OpenCV when FFmpeg is first used


class Reader:
    """A capture that may be closed while another thread reads: releasing it under a read crashes."""

    def __init__(self, ffmpeg: Mapping[str, str] = _NO_OPTIONS) -> None:
        """``ffmpeg``: options of FFmpeg itself.

        OpenCV takes them from the environment only, so they replace whatever stands there at each ``open``.
        """
        self._ffmpeg = ffmpeg
        self._lock = threading.Lock()
        self._capture: cv2.VideoCapture | None = None
        self._closing = threading.Event()

    @property
    def closing(self) -> bool:
        """Somebody wants it closed: whoever works with the capture in a loop should end it."""
        return self._closing.is_set()

    def open(self, source: str, backend: int, *options: int) -> bool:
        """Whether it opened. ``options``: property, value, property, value …; see ``cv2.VideoCapture``."""
        _silence()
        _pass_on(self._ffmpeg)
        with self._lock:
            self._closing.clear()
            if self._capture is not None:
                self._capture.release()
            self._capture = cv2.VideoCapture(source, backend, options)
            return self._capture.isOpened()

    def use(self, work: Callable[[cv2.VideoCapture], T]) -> T | None:
        """What ``work`` makes of the capture; None when it is closed.

        Raises:
            CameraError: OpenCV objected.
        """
        with self._lock:
            if self._capture is None or self.closing:
                return None
            try:
                return work(self._capture)
            except cv2.error as error:
                raise CameraError(f"OpenCV cannot read it: {error.err}", retry=Retry.BACKOFF) from error

    def read(self) -> Picture | None:
        """The next picture; None at the end, on a time-out, on an undecodable one, or when closed."""
        return self.use(_read)

    def close(self) -> None:
        """Release now, or leave it to the reading thread, whose own ``close`` follows."""
        self._closing.set()
        if self._lock.acquire(blocking=False):
            try:
                if self._capture is not None:
                    self._capture.release()
                    self._capture = None
            finally:
                self._lock.release()


def _read(capture: cv2.VideoCapture) -> Picture | None:
    done, picture = capture.read()
    return picture if done else None


def _pass_on(options: Mapping[str, str]) -> None:
    """Options a person left in the environment could switch the verification of a certificate off."""
    if options:
        os.environ[_FFMPEG_OPTIONS] = "|".join(f"{key};{_escaped(value)}" for key, value in options.items())
    else:
        os.environ.pop(_FFMPEG_OPTIONS, None)


def _escaped(value: str) -> str:
    """As FFmpeg's av_get_token reads it: a backslash keeps the next character from ending the value."""
    return "".join(f"\\{each}" if each in "\\';| " else each for each in value)


def _silence() -> None:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _FFMPEG_QUIET)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
