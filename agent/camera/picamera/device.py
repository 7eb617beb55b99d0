"""One opened and streaming picamera2 camera. Only this module and library.py call picamera2.

Traps of picamera2 and their handling (the fake in the tests reproduces those marked *):

1. * A capture that times out stays queued and keeps a buffer for ever: it is cancelled. A request that
   completes during the cancelling is used, or released later. (A request that is never released crashed the
   process now and then on libcamera's virtual camera.)
2. * A held request starves the camera: pixels are copied and the request is released before a frame is used.
3. * After a sensor time-out libcamera returns cancelled requests, which picamera2 drops: no frame and no
   exception. Each wait is bounded, and an old frame never counts as a new frame.
4. * ``stop()`` may block for ever and ``close()`` calls it. Both run in a thread that may be abandoned.
5. * An exception in picamera2's event loop ends the loop, and ``stop()`` then waits for the loop for ever.
   So the loop is ended before the camera is stopped, and starts again with the camera.
6. * An unknown control raises RuntimeError: only offered controls are set.
7. * The camera uses its buffers again after a restart: no pixels are read during a restart, and a request
   from before the restart is not read.
8. * A failed opening leaves a pipe, or the camera itself, open: both are closed. Otherwise a busy camera,
   opened every second, would use up all file descriptors in a quarter of an hour.
9. * picamera2 loses a control that is set while a buffer is released: each control is set three times.
10. Opening again fragments the memory for pictures (CMA): the camera is configured once and restarted as is.
"""

import atexit
import math
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from agent.camera.fitting import Pixels
from agent.camera.picamera import errors
from agent.camera.picamera.controls import FaceExposure, can_limit_rate, exposure_range, initial_controls
from agent.camera.picamera.formats import Layout, check_layout, to_bgr
from agent.camera.picamera.library import Library, close_half_open, construct_camera
from agent.camera.picamera.sensor_clock import SensorClock
from agent.config import CameraConfig
from agent.core.model import FaceLight
from agent.texts import Text

BUFFERS = 4
_SMALL_WIDTH_PX = 320  # the detector's own default
_WAIT_S = 1.0  # for one frame; then the request is cancelled and a new request made
_LATE_S = 0.2  # for a request that completes while it is cancelled
_CONTROL_REPEATS = 3
_OF_LIGHT = ("ExposureTime", "AnalogueGain", "DigitalGain", "Lux")
_SHOWN_METADATA = (*_OF_LIGHT, "LensPosition", "FocusFoM", "SensorTemperature")


@dataclass(frozen=True, slots=True)
class CopiedFrame:
    """Copies of one frame. The buffer of the camera is released already."""

    pixels: Pixels
    small: Pixels | None
    metadata: Mapping[str, float]
    captured_ms: int


class PicameraDevice:
    """To be called from one thread, except ``cancel``, ``restart`` and ``close``."""

    def __init__(self, library: Library, config: CameraConfig, clock: SensorClock) -> None:
        """Open and start. Raises ``CameraError`` and exceptions of picamera2, and leaves nothing open."""
        self._library = library
        self._fps = config.fps
        self._clock = clock
        self._stream_lock = threading.Lock()  # held while pixels are read, and while the stream is stopped
        self._stream_number = 0  # number of the stream's start
        self._is_closed = False
        self._late_jobs: list[Any] = []  # jobs whose requests complete too late and must be released
        self._repeats_left = 0  # of setting the exposure
        self._has_event_loop = False
        self._unreleasable: Any = None  # a request that must be neither freed nor released
        self._camera = construct_camera(library, config.source)
        try:
            self._configure(config)
            self._start_stream()
        except BaseException:
            close_half_open(self._camera)
            raise

    def next_frame(self) -> CopiedFrame | None:
        """The next frame; None after a time-out, for an unknown capture time, and for a stopped stream."""
        self._release_late()
        stream_number = self._stream_number
        request = None if self._is_closed else self._completed_request()
        if request is None:
            return None
        if not self._stream_lock.acquire(timeout=_WAIT_S):
            self._unreleasable = request  # a release to a stopped stream is not allowed
            raise errors.stalled_camera(Text("detail.stream_restart_hangs"))
        try:
            try:
                return self._copy_frame(request) if stream_number == self._stream_number else None
            finally:
                request.release()
        finally:
            self._stream_lock.release()

    def adapt_exposure(self, lights: deque[FaceLight | None]) -> None:
        """Adapt the exposure to the measured ``lights`` and empty the queue."""
        while lights:
            light = lights.popleft()
            if self._exposure is not None and self._exposure.value != self._exposure.update(light):
                self._repeats_left = _CONTROL_REPEATS
        if self._repeats_left and self._exposure is not None:
            self._repeats_left -= 1
            self._camera.set_controls({"ExposureValue": self._exposure.value})

    def cancel(self) -> None:
        """End each wait for a frame and free its buffer."""
        self._camera.cancel_all_and_flush()

    def restart(self) -> None:
        """Stop and start the stream, with a new event loop. May block for ever."""
        with self._stream_lock:
            if self._is_closed:
                return
            self._stream_number += 1
            if self._has_event_loop:
                self._has_event_loop = False
                self._camera.stop_preview()
            self._camera.stop()
            self._start_stream()

    def close(self) -> None:
        """Release the camera. May block for ever."""
        self._is_closed = True
        with self._stream_lock:
            self._stream_number += 1
            self._camera.cancel_all_and_flush()
            self._camera.close()

    def close_abandoned(self) -> None:
        """``close`` does not return: keep the interpreter from calling it again at its end."""
        atexit.unregister(self._camera.close)

    def _configure(self, config: CameraConfig) -> None:
        size = (config.width_px, config.height_px)
        small = small_size(*size)
        streams = self._camera.create_video_configuration(
            main={"size": size, "format": "RGB888"},  # B,G,R in memory
            lores=None if small is None else {"size": small, "format": "YUV420"},
            raw=None,
            buffer_count=BUFFERS,
            queue=False,  # a queued request is an old frame
            display=None,
            encode=None,
        )
        self._camera.configure(streams)
        self._main = _layout(self._camera.camera_configuration()["main"])
        lores = None if small is None else _layout(self._camera.camera_configuration()["lores"])
        self._small = lores if lores is not None and have_same_view(lores, self._main) else None
        self.is_rate_limited = can_limit_rate(self._camera.camera_controls, self._fps)
        limits = exposure_range(self._camera.camera_controls)
        self._exposure = None if limits is None else FaceExposure(*limits)

    def _start_stream(self) -> None:
        self._clock.begin()
        self._camera.set_controls(initial_controls(self._camera.camera_controls, self._fps))
        if self._exposure is not None and self._exposure.value:
            self._repeats_left = _CONTROL_REPEATS
        self._camera.start()
        self._has_event_loop = True

    def _completed_request(self) -> Any:
        """A completed request, to be released by the caller; None after a time-out or a cancelling."""
        job = self._camera.capture_request(wait=False)
        try:
            return self._camera.wait(job, timeout=_WAIT_S)
        except CancelledError:
            return None
        except TimeoutError:
            self._camera.cancel_all_and_flush()
        try:
            return self._camera.wait(job, timeout=_LATE_S)
        except CancelledError:
            return None
        except TimeoutError:
            self._late_jobs.append(job)
            return None

    def _release_late(self) -> None:
        """Release requests that have completed after their time-out."""
        for job in self._late_jobs[:]:
            try:
                request = self._camera.wait(job, timeout=0)
            except TimeoutError:
                continue
            self._late_jobs.remove(job)
            request.release()

    def _copy_frame(self, request: Any) -> CopiedFrame | None:
        metadata = request.get_metadata()
        captured_ms = self._clock.captured_ms(metadata.get("SensorTimestamp"))
        if captured_ms is None:
            return None
        small = None if self._small is None else self._picture(request, "lores", self._small)
        return CopiedFrame(
            self._picture(request, "main", self._main), small, shown_metadata(metadata), captured_ms
        )

    def _picture(self, request: Any, stream: str, layout: Layout) -> Pixels:
        """Read from the mapped buffer: one copy for the main stream, one conversion for the small stream."""
        with self._library.mapped(request, stream, reshape=False, write=False) as mapped:
            return to_bgr(mapped.array, layout)


def small_size(width_px: int, height_px: int) -> tuple[int, int] | None:
    """Size of the small stream: the same view, even sides; None when the main stream is not larger."""
    small_height_px = 2 * round(_SMALL_WIDTH_PX * height_px / width_px / 2)
    is_larger = width_px > _SMALL_WIDTH_PX and small_height_px >= 16
    return (_SMALL_WIDTH_PX, small_height_px) if is_larger else None


def have_same_view(small: Layout, large: Layout) -> bool:
    """Whether both streams can show one view: the camera may change the requested sizes."""
    scale_x, scale_y = large.width_px / small.width_px, large.height_px / small.height_px
    return scale_x >= 1 and scale_y >= 1 and abs(scale_x / scale_y - 1) <= 0.02


def shown_metadata(metadata: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of ``_SHOWN_METADATA``. Each may be missing."""
    values = [(name, metadata.get(name)) for name in _SHOWN_METADATA]
    return {
        name: float(value)
        for name, value in values
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _layout(stream: Mapping[str, Any]) -> Layout:
    width, height = stream["size"]
    return check_layout(Layout(stream["format"], width, height, stream["stride"]))
