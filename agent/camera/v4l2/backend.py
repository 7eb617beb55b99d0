"""The backend for a USB camera (UVC) or another V4L2 capture device, with OpenCV's V4L2 backend.

The device is opened by its stable name, so that it is the same camera after plugging in again. Each wait is
bounded. ``grab`` returns the newest frame: the driver keeps filled buffers for a late reader, and the time
stamp of a buffer gives the age.
"""

import logging
import time

import cv2

from agent.camera.backend import Remedies
from agent.camera.errors import camera_error
from agent.camera.fitting import fit_to_size
from agent.camera.v4l2.devices import Devices
from agent.camera.video_reader import Picture, VideoReader
from agent.config import CameraConfig
from agent.core.model import Frame
from agent.core.ports import Clock
from agent.health.conditions_camera import CAMERA_STALLED, CAMERA_UNAVAILABLE
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

_MJPG = cv2.VideoWriter.fourcc(*"MJPG")  # USB 2 carries at most 10 frames of raw 720p a second
_BUFFERS = 2  # the fewest that a driver accepts
_OLD_MS = 150  # more than a decode and a busy machine need: the buffer has waited in the driver
_WAIT_SLICE_MS = 200  # longest delay of a close
_BROKEN_MAX = 10  # undecodable pictures in a row; a bad cable spoils single pictures


class V4l2Backend:
    """``camera.source`` names the device; empty: the only camera of the machine."""

    remedies: Remedies = ()  # only opening again helps a UVC stream

    def __init__(
        self,
        config: CameraConfig,
        clock: Clock,
        devices: Devices | None = None,
        reader: VideoReader | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._devices = devices or Devices()
        self._reader = reader or VideoReader()
        self._name = config.source or "camera"
        self._is_monotonic = False  # a time stamp on the monotonic clock has arrived
        self._unknown_stamps = 0  # earlier frames with another stamp
        self._seq = 0

    def open(self) -> None:
        """Raises ``CameraError``: absent, busy, denied, several cameras, or not the configured format."""
        self._name = self._config.source or self._devices.only_camera()
        device = self._devices.examine(self._name)
        self._is_monotonic, self._unknown_stamps = False, 0
        if not self._reader.open(self._name, cv2.CAP_V4L2):
            raise camera_error(
                CAMERA_UNAVAILABLE, Text("detail.no_known_format", name=self._name, card=device.card)
            )
        self._reader.use(self._configure)
        log.info("camera_opened", extra=facts(device=self._name, card=device.card))

    def grab(self) -> Frame:
        """Raises ``CameraError`` for an unplugged camera, and without a frame within ``camera.stall_ms``."""
        newest = self._reader.use(self._read_newest)
        if newest is None:
            raise camera_error(CAMERA_UNAVAILABLE, Text("detail.device_closed", name=self._name))
        picture, captured_ms = newest
        size = (self._config.width_px, self._config.height_px)
        self._seq += 1
        return Frame(fit_to_size(picture, *size, self._name), self._seq, captured_ms, *size)

    def close(self) -> None:
        self._reader.close()

    def _configure(self, capture: cv2.VideoCapture) -> None:
        """Set the configured format, then read the driver's values: the driver may round each value."""
        config = self._config
        capture.set(cv2.CAP_PROP_FOURCC, _MJPG)
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width_px)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height_px)
        capture.set(cv2.CAP_PROP_FPS, config.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, _BUFFERS)
        width_px = round(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height_px = round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if (width_px, height_px) != (config.width_px, config.height_px):
            raise camera_error(
                CAMERA_UNAVAILABLE,
                Text(
                    "detail.other_size",
                    name=self._name,
                    width_px=width_px,
                    height_px=height_px,
                    wanted_width_px=config.width_px,
                    wanted_height_px=config.height_px,
                ),
                fix=Text("fix.resolution_unavailable", width_px=width_px, height_px=height_px),
            )
        fps = capture.get(cv2.CAP_PROP_FPS)
        if fps < config.fps:
            log.warning("camera_slow", extra=facts(device=self._name, fps=fps, configured=config.fps))
        if round(capture.get(cv2.CAP_PROP_FOURCC)) != _MJPG:
            log.info("camera_not_mjpg", extra=facts(device=self._name))

    def _read_newest(self, capture: cv2.VideoCapture) -> tuple[Picture, int] | None:
        """Newest picture and capture time; skips those that waited in the driver. None during a close."""
        undecodable = skipped = 0
        while not self._reader.is_closing:
            if not self._wait(capture):
                continue
            now_ms, age_ms = self._clock.now_ms(), self._age_ms(capture)  # before decoding, which takes time
            # a skipped frame, too: otherwise the next wait returns it
            is_decoded, picture = capture.retrieve()
            if not is_decoded:
                undecodable += 1
                if undecodable == _BROKEN_MAX:
                    why = Text("detail.broken_pictures", name=self._name, broken=undecodable)
                    raise camera_error(CAMERA_UNAVAILABLE, why)
            elif age_ms <= _OLD_MS or skipped > _BUFFERS:
                if age_ms >= self._config.stall_ms:  # a driver without frames for a decision about a payer
                    raise camera_error(
                        CAMERA_STALLED, Text("detail.old_frames", name=self._name, age_ms=age_ms)
                    )
                return picture, now_ms - age_ms
            else:
                skipped += 1
        return None

    def _wait(self, capture: cv2.VideoCapture) -> bool:
        """Take a buffer from the driver; False when a close interrupts the wait.

        ``waitAny`` is bounded, ``grab`` is not. With an unplugged camera ``retrieve`` must not be called: it
        would return the previous picture as a new one.
        """
        for _ in range(0, self._config.stall_ms, _WAIT_SLICE_MS):
            if self._reader.is_closing:
                return False
            try:
                ready, _ = cv2.VideoCapture.waitAny([capture], _WAIT_SLICE_MS * 1_000_000)
            except cv2.error as error:
                raise camera_error(
                    CAMERA_UNAVAILABLE, Text("detail.stream_ended", name=self._name)
                ) from error
            if ready:
                return True
        raise camera_error(
            CAMERA_STALLED, Text("detail.no_picture_for", name=self._name, stall_ms=self._config.stall_ms)
        )

    def _age_ms(self, capture: cv2.VideoCapture) -> int:
        """Age of the frame; 0 when the driver does not stamp on the monotonic clock.

        A stamp close to now proves the monotonic clock. Until then the first frames are not used: while a
        machine is busy starting, a frame can wait longer than the age of any such stamp.
        """
        age_ms = time.monotonic_ns() // 1_000_000 - round(capture.get(cv2.CAP_PROP_POS_MSEC))
        self._is_monotonic = self._is_monotonic or abs(age_ms) < self._config.stall_ms
        if self._is_monotonic:
            return max(0, age_ms)
        self._unknown_stamps += 1
        return _OLD_MS + 1 if self._unknown_stamps <= _BUFFERS + 1 else 0
