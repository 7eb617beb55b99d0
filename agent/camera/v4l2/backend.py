"""A USB camera (UVC), or whatever else V4L2 calls a camera, through OpenCV's V4L2 backend.

It is opened by its stable name, so that it is the same camera after it was plugged in again. Each wait is
bounded, and the frame handed over is the newest: the driver keeps filled buffers for whoever comes late, and
their time stamps tell how old they are.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import cv2

from agent.camera.backend import Remedies
from agent.camera.errors import camera_error
from agent.camera.fitting import fitted
from agent.camera.reader import Picture, Reader
from agent.camera.v4l2.devices import Devices
from agent.config import CameraConfig
from agent.core.model import Frame
from agent.core.ports import Clock
from agent.health.conditions_camera import CAMERA_STALLED, CAMERA_UNAVAILABLE
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

_MJPG = cv2.VideoWriter.fourcc(*"MJPG")  # raw 720p does not fit through USB 2 at more than 10 frames a second
_BUFFERS = 2  # the fewest a driver works with
_OLD_MS = 150  # older than a decode and a busy machine explain: a buffer that was waiting for us
_WAIT_SLICE_MS = 200  # a close is noticed this soon
_BROKEN_MAX = 10  # pictures in a row that cannot be decoded; a bad cable spoils some


@dataclass(frozen=True, slots=True)
class _Taken:
    picture: Picture
    captured_ms: int


class V4l2Backend:
    """``camera.source`` names the device; empty is the only one there is."""

    remedies: Remedies = ()  # nothing gentler than opening it again helps a UVC stream

    def __init__(
        self, config: CameraConfig, clock: Clock, devices: Devices | None = None, reader: Reader | None = None
    ) -> None:
        self._config = config
        self._clock = clock
        self._devices = devices or Devices()
        self._reader = reader or Reader()
        self._name = config.source or "camera"
        self._stamped = False  # whether a time stamp was seen that is on the monotonic clock
        self._unplaced = 0  # pictures with another stamp before that
        self._seq = 0

    def open(self) -> None:
        """Raises ``CameraError``: absent, busy, denied, several, or not what is asked for."""
        self._name = self._config.source or self._devices.only()
        device = self._devices.examine(self._name)
        self._stamped, self._unplaced = False, 0
        if not self._reader.open(self._name, cv2.CAP_V4L2):
            raise camera_error(
                CAMERA_UNAVAILABLE, f"{self._name}: {device.card} gives no format that is known"
            )
        self._reader.use(self._set_up)
        log.info("camera_opened", extra=facts(device=self._name, card=device.card))

    def grab(self) -> Frame:
        """Raises ``CameraError`` when it was unplugged, or no picture came within ``camera.stall_ms``."""
        taken = self._reader.use(self._newest)
        if taken is None:
            raise camera_error(CAMERA_UNAVAILABLE, f"{self._name} was closed")
        size = (self._config.width_px, self._config.height_px)
        self._seq += 1
        return Frame(fitted(taken.picture, *size, self._name), self._seq, taken.captured_ms, *size)

    def close(self) -> None:
        self._reader.close()

    def _set_up(self, capture: cv2.VideoCapture) -> None:
        """Ask for the configured format, and look what the driver made of it: it may round everything."""
        wanted = self._config
        asked = (
            (cv2.CAP_PROP_FOURCC, _MJPG),
            (cv2.CAP_PROP_FRAME_WIDTH, wanted.width_px),
            (cv2.CAP_PROP_FRAME_HEIGHT, wanted.height_px),
            (cv2.CAP_PROP_FPS, wanted.fps),
            (cv2.CAP_PROP_BUFFERSIZE, _BUFFERS),
        )
        for name, value in asked:
            capture.set(name, value)
        width_px, height_px = (
            round(capture.get(name)) for name in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if (width_px, height_px) != (wanted.width_px, wanted.height_px):
            raise camera_error(
                CAMERA_UNAVAILABLE,
                f"{self._name} gives {width_px}×{height_px}, not {wanted.width_px}×{wanted.height_px}",
                fix=Text("fix.resolution_unavailable", width_px=width_px, height_px=height_px),
            )
        fps = capture.get(cv2.CAP_PROP_FPS)
        if fps < wanted.fps:
            log.warning("camera_slow", extra=facts(device=self._name, fps=fps, asked=wanted.fps))
        if round(capture.get(cv2.CAP_PROP_FOURCC)) != _MJPG:
            log.info("camera_not_mjpg", extra=facts(device=self._name))

    def _newest(self, capture: cv2.VideoCapture) -> _Taken | None:
        """Skip what waited in the driver's buffers; None when it is being closed."""
        broken = waiting = 0
        while not self._reader.closing:
            if not self._wait(capture):
                continue
            now_ms, age_ms = (
                self._clock.now_ms(),
                self._age_ms(capture),
            )  # before it is decoded: that takes time
            done, picture = capture.retrieve()  # also what is thrown away: the next wait returns it otherwise
            if not done:
                broken += 1
                if broken == _BROKEN_MAX:
                    raise camera_error(CAMERA_UNAVAILABLE, f"{self._name}: {broken} broken pictures in a row")
            elif age_ms <= _OLD_MS or waiting > _BUFFERS:
                return self._fresh(picture, now_ms, age_ms)
            else:
                waiting += 1
        return None

    def _fresh(self, picture: Picture, now_ms: int, age_ms: int) -> _Taken:
        """A driver whose every picture is that old is no camera to decide about a payer with."""
        if age_ms >= self._config.stall_ms:
            raise camera_error(CAMERA_STALLED, f"{self._name}: its pictures are {age_ms} ms old")
        return _Taken(picture, now_ms - age_ms)

    def _wait(self, capture: cv2.VideoCapture) -> bool:
        """Take a buffer from the driver; False when a close interrupts the wait.

        ``waitAny`` is bounded, ``grab`` is not. A camera that is gone must not get as far as ``retrieve``:
        that would hand out the picture of before as if it were new.
        """
        for _ in range(0, self._config.stall_ms, _WAIT_SLICE_MS):
            if self._reader.closing:
                return False
            try:
                ready, _ = cv2.VideoCapture.waitAny([capture], _WAIT_SLICE_MS * 1_000_000)
            except cv2.error as error:
                raise camera_error(CAMERA_UNAVAILABLE, f"{self._name}: the stream broke off") from error
            if ready:
                return True
        raise camera_error(CAMERA_STALLED, f"{self._name}: no picture for {self._config.stall_ms} ms")

    def _age_ms(self, capture: cv2.VideoCapture) -> int:
        """How long ago the picture was taken; 0 where the driver does not stamp on the monotonic clock.

        A stamp that fits tells. Until one does, the first pictures are not used: they may just have waited,
        for a machine that was busy starting, longer than any fitting stamp is old.
        """
        age_ms = time.monotonic_ns() // 1_000_000 - round(capture.get(cv2.CAP_PROP_POS_MSEC))
        self._stamped = self._stamped or abs(age_ms) < self._config.stall_ms
        if self._stamped:
            return max(0, age_ms)
        self._unplaced += 1
        return _OLD_MS + 1 if self._unplaced <= _BUFFERS + 1 else 0
