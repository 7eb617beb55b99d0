"""The Raspberry Pi's camera module as a grabber. What picamera2 does and hides is in device.py."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from agent.camera.backend import Remedies
from agent.camera.bounded_call import Call
from agent.camera.pacing import Pacer
from agent.camera.picamera import errors
from agent.camera.picamera.device import PicameraDevice
from agent.camera.picamera.library import Library, installed
from agent.camera.picamera.sensor_clock import SensorClock
from agent.config import CameraConfig
from agent.core.model import FaceLight, Frame
from agent.core.ports import Clock
from agent.errors import CameraError, Retry
from agent.log import facts

log = logging.getLogger(__name__)

_CLOSE_S = 1.5


class PicameraBackend:
    """Implements ``Grabber``. ``camera.source``: empty for the first camera, else its number, model or id.

    A silent camera is no error here: ``grab`` goes on asking, and whoever misses the frames has ``remedies``.
    """

    def __init__(
        self, config: CameraConfig, clock: Clock, library: Callable[[], Library] = installed
    ) -> None:
        self._config = config
        self._clock = clock
        self._library = library
        self._pacer = Pacer(clock, config.fps)
        self._lock = threading.Lock()  # of the two below, which any thread may close
        self._device: PicameraDevice | None = None
        self._closing: Call | None = None
        self._lights: deque[FaceLight | None] = deque(maxlen=16)
        self._seq = 0

    @property
    def remedies(self) -> Remedies:
        return (("cancel", self._cancel), ("restart", self._restart))

    def open(self) -> None:
        """Raises ``CameraError``: nothing installed, no camera, busy, or an earlier closing still hangs."""
        if self._closing is not None and not self._closing.ended_within(_CLOSE_S):
            raise errors.hangs()
        with errors.translated("opening"):
            self._device = PicameraDevice(self._library(), self._config, SensorClock(self._clock))
        self._pacer.open()

    def grab(self) -> Frame:
        """The next frame; waits for it as long as the camera is open.

        Raises:
            CameraError: closed, or picamera2 failed.
        """
        while True:
            device = self._device
            if device is None:
                raise CameraError("the camera was closed", retry=Retry.BACKOFF)
            if not device.keeps_pace:
                self._pacer.wait()
            with errors.translated("waiting for a frame"):
                device.aim(self._lights)
                taken = device.take()
            if taken is not None:
                self._seq += 1
                high, wide = taken.pixels.shape[:2]
                return Frame(taken.pixels, self._seq, taken.captured_ms, wide, high, taken.small, taken.told)

    def close(self) -> None:
        """Within 1.5 s. A driver that takes longer is left; ``open`` refuses until it has come back."""
        with self._lock:
            device, self._device = self._device, None
            if device is not None:
                self._closing = Call("camera-close", partial(_shut, device))
        self._pacer.close()
        if device is not None and self._closing is not None and not self._closing.ended_within(_CLOSE_S):
            device.leave()
            log.error("camera_close_abandoned")

    def expose(self, light: FaceLight | None) -> None:
        """From any thread, at once; acted upon with the next frame."""
        self._lights.append(light)

    def _cancel(self) -> None:
        device = self._device
        if device is not None:
            with errors.translated("cancelling"):
                device.cancel()

    def _restart(self) -> None:
        """May block for ever: whoever calls it does so in a thread that may be left."""
        device = self._device
        if device is not None:
            with errors.translated("restarting"):
                device.restart()


def _shut(device: PicameraDevice) -> None:
    try:
        with errors.translated("closing"):
            device.close()
    except CameraError as error:
        log.warning("camera_close_failed", extra=facts(code=error.code, why=error))
