"""The backend for the Raspberry Pi's camera module. The traps of picamera2 are handled in device.py."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial

from agent.camera.backend import FrameTimer, Remedies
from agent.camera.errors import camera_error
from agent.camera.picamera import errors
from agent.camera.picamera.device import PicameraDevice
from agent.camera.picamera.library import Library, import_library
from agent.camera.picamera.sensor_clock import SensorClock
from agent.config import CameraConfig
from agent.core.model import FaceLight, Frame
from agent.core.ports import Clock
from agent.errors import CameraError, Retry
from agent.health.conditions_camera import CAMERA_STALLED
from agent.log import facts
from agent.tasks import in_thread
from agent.texts import Text

log = logging.getLogger(__name__)

_CLOSE_S = 1.5


class PicameraBackend:
    """Implements ``CameraBackend``. ``camera.source``: empty for the first camera, or a number, model or id.

    A silent camera is no error here: ``grab`` keeps waiting, and the frame source calls ``remedies``.
    """

    def __init__(
        self, config: CameraConfig, clock: Clock, library: Callable[[], Library] = import_library
    ) -> None:
        self._config = config
        self._clock = clock
        self._library = library
        self._timer = FrameTimer(clock, config.fps)
        self._lock = threading.Lock()  # of the next two attributes; any thread may close
        self._device: PicameraDevice | None = None
        self._closing: Future[None] | None = None
        self._face_lights: deque[FaceLight | None] = deque(maxlen=16)
        self._seq = 0

    @property
    def remedies(self) -> Remedies:
        return (
            ("cancel", partial(self._apply_remedy, "cancelling", PicameraDevice.cancel)),
            ("restart", partial(self._apply_remedy, "restarting", PicameraDevice.restart)),
        )

    def open(self) -> None:
        """Raises ``CameraError``: library missing, no camera, busy, or an earlier close still hangs."""
        if not self._is_closed_in_time():
            fix = Text("fix.restart_agent_then_terminal")
            raise camera_error(CAMERA_STALLED, Text("detail.camera_driver_hangs"), fix=fix)
        with errors.translate_errors("opening"):
            self._device = PicameraDevice(self._library(), self._config, SensorClock(self._clock))
        self._timer.open()

    def grab(self) -> Frame:
        """The next frame; waits without limit while the camera is open.

        Raises ``CameraError``: closed, or picamera2 failed.
        """
        while True:
            device = self._device
            if device is None:
                raise CameraError(Text("detail.camera_closed"), retry=Retry.BACKOFF)
            if not device.is_rate_limited:
                self._timer.wait()
            with errors.translate_errors("waiting for a frame"):
                device.adapt_exposure(self._face_lights)
                copied = device.next_frame()
            if copied is not None:
                self._seq += 1
                height, width = copied.pixels.shape[:2]
                details = width, height, copied.small, copied.metadata
                return Frame(copied.pixels, self._seq, copied.captured_ms, *details)

    def close(self) -> None:
        """Close within 1.5 s. A slower close is abandoned; ``open`` fails until that close has returned."""
        with self._lock:
            device, self._device = self._device, None
            if device is not None:
                self._closing = in_thread("camera-close", partial(_close, device))
        self._timer.close()
        if device is not None and not self._is_closed_in_time():
            device.close_abandoned()
            log.error("camera_close_abandoned")

    def adapt_exposure(self, light: FaceLight | None) -> None:
        """Callable from any thread, returns at once; takes effect with the next frame."""
        self._face_lights.append(light)

    def _is_closed_in_time(self) -> bool:
        return self._closing is None or bool(wait([self._closing], _CLOSE_S).done)

    def _apply_remedy(self, activity: str, remedy: Callable[[PicameraDevice], None]) -> None:
        """May block for ever: to be called in a thread that may be abandoned."""
        device = self._device
        if device is not None:
            with errors.translate_errors(activity):
                remedy(device)


def _close(device: PicameraDevice) -> None:
    try:
        with errors.translate_errors("closing"):
            device.close()
    except CameraError as error:
        log.warning("camera_close_failed", extra=facts(code=error.code, why=error))
    except Exception:
        log.exception("bug_in_camera_backend")
