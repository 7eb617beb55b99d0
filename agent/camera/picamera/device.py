"""One opened picamera2 camera, streaming. All we call of picamera2 is called here, or to open it next door.

Traps, and what is done about each (those marked * are reproduced by the fake in the tests):

1. * A capture that times out stays queued and keeps a buffer for good: it is cancelled, and when it was
   answered in that very moment, the answer is used, or given back later. (A request that is forgotten
   altogether crashed the process now and then on libcamera's virtual camera.)
2. * A held request starves the camera: pixels are copied and the request goes back before a frame is shown.
3. * After a sensor time-out libcamera hands back cancelled requests, which picamera2 drops: silence, no
   exception. Each wait is bounded, and nothing here mistakes an old picture for a new one.
4. * ``stop()`` may block for ever and ``close()`` calls it. Whoever calls them here is ready to be left.
5. * An exception in picamera2's event loop ends the loop, and ``stop()`` then waits for it for ever: the loop
   is ended before the camera is stopped, and begins anew with it.
6. * An unknown control is a RuntimeError: only what the camera offers is set.
7. * The buffers go back into service when the camera starts again: nobody reads pixels meanwhile, and what
   was handed out before is not read any more.
8. * A failed opening leaves a pipe, or the camera itself, open: closed, or a busy camera that is tried every
   second would use up all file descriptors in a quarter of an hour.
9. * picamera2 loses a control that is set while a buffer is given back: it is said three times.
10. Opening again fragments the memory that pictures need (CMA): configured once, and started anew as it is.
"""

from __future__ import annotations

import atexit
import math
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from agent.camera.picamera import errors
from agent.camera.picamera.controls import exposure_range, keeps_pace, wanted
from agent.camera.picamera.exposure import FaceExposure
from agent.camera.picamera.formats import Layout, Pixels, bgr, checked
from agent.camera.picamera.library import Library, constructed, drop
from agent.camera.picamera.sensor_clock import SensorClock
from agent.config import CameraConfig
from agent.core.model import FaceLight

BUFFERS = 4
_SMALL_WIDTH_PX = 320  # the detector's own default
_WAIT_S = 1.0  # for one frame; then its request is cancelled and another one made
_LATE_S = 0.2  # for a request that was answered while it was cancelled
_SAID = 3  # times
_TOLD = (
    "ExposureTime",
    "AnalogueGain",
    "DigitalGain",
    "Lux",
    "LensPosition",
    "FocusFoM",
    "SensorTemperature",
)


@dataclass(frozen=True, slots=True)
class Taken:
    """One picture's copies; the camera has its buffer back."""

    pixels: Pixels
    small: Pixels | None
    told: Mapping[str, float]
    captured_ms: int


class PicameraDevice:
    """Calls of one thread, except ``cancel``, ``restart`` and ``close``."""

    def __init__(self, library: Library, config: CameraConfig, clock: SensorClock) -> None:
        """Opened and streaming. Raises ``CameraError`` and what picamera2 raises; nothing stays open then."""
        self._library = library
        self._fps = config.fps
        self._clock = clock
        self._in_use = threading.Lock()  # held while pixels are read, and while the stream is down
        self._run = 0  # which start of the stream this is
        self._is_closed = False
        self._owed: list[Any] = []  # jobs that were answered too late to be of use, or are going to be
        self._to_say = 0
        self._has_loop = False
        self._stranded: Any = None
        self._camera = constructed(library, config.source)
        try:
            self._configure(config)
            self._start()
        except BaseException:
            drop(self._camera)
            raise

    def take(self) -> Taken | None:
        """The next picture; None when none came in time, its time is unknown, or the stream went down."""
        self._give_back()
        run = self._run
        request = None if self._is_closed else self._request()
        if request is None:
            return None
        if not self._in_use.acquire(timeout=_WAIT_S):
            self._stranded = request  # not to be freed, not to be given back to a stream that is down
            raise errors.stalled("the stream is being restarted, and does not come back")
        try:
            try:
                return self._copied(request) if run == self._run else None
            finally:
                request.release()
        finally:
            self._in_use.release()

    def aim(self, lights: deque[FaceLight | None]) -> None:
        """Expose for the face as told; what was heard is taken out of ``lights``."""
        while lights:
            light = lights.popleft()
            if self._exposure is not None and self._exposure.value != self._exposure.see(light):
                self._to_say = _SAID
        if self._to_say and self._exposure is not None:
            self._to_say -= 1
            self._camera.set_controls({"ExposureValue": self._exposure.value})

    def cancel(self) -> None:
        """Whatever waits for a frame stops waiting; its buffer is free again."""
        self._camera.cancel_all_and_flush()

    def restart(self) -> None:
        """Stop and start the stream, with an event loop of its own. May block for ever."""
        with self._in_use:
            if self._is_closed:
                return
            self._run += 1
            if self._has_loop:
                self._has_loop = False
                self._camera.stop_preview()
            self._camera.stop()
            self._start()

    def close(self) -> None:
        """Let the camera go. May block for ever."""
        self._is_closed = True
        with self._in_use:
            self._run += 1
            self._camera.cancel_all_and_flush()
            self._camera.close()

    def leave(self) -> None:
        """``close`` does not come back: at least the interpreter's end must not call it again."""
        atexit.unregister(self._camera.close)

    def _configure(self, config: CameraConfig) -> None:
        size = (config.width_px, config.height_px)
        small = small_size(*size)
        streams = self._camera.create_video_configuration(
            main={"size": size, "format": "RGB888"},  # B,G,R in memory
            lores=None if small is None else {"size": small, "format": "YUV420"},
            raw=None,
            buffer_count=BUFFERS,
            queue=False,  # a queued request is an old picture
            display=None,
            encode=None,
        )
        self._camera.configure(streams)
        self._main = _layout(self._camera.camera_configuration()["main"])
        lores = None if small is None else _layout(self._camera.camera_configuration()["lores"])
        self._small = lores if lores is not None and shows_the_same(lores, self._main) else None
        self.keeps_pace = keeps_pace(self._camera.camera_controls, self._fps)  # by itself, at the wanted rate
        limits = exposure_range(self._camera.camera_controls)
        self._exposure = None if limits is None else FaceExposure(*limits)

    def _start(self) -> None:
        self._clock.begin()
        self._camera.set_controls(wanted(self._camera.camera_controls, self._fps))
        if self._exposure is not None and self._exposure.value:
            self._to_say = _SAID
        self._camera.start()
        self._has_loop = True

    def _request(self) -> Any:
        """A completed request, ours to release; None when none came, and then none is owed any more."""
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
            self._owed.append(job)
            return None

    def _give_back(self) -> None:
        """What was answered after all goes back to the camera."""
        for job in self._owed[:]:
            try:
                request = self._camera.wait(job, timeout=0)
            except TimeoutError:
                continue
            self._owed.remove(job)
            request.release()

    def _copied(self, request: Any) -> Taken | None:
        metadata = request.get_metadata()
        captured_ms = self._clock.captured_ms(metadata.get("SensorTimestamp"))
        if captured_ms is None:
            return None
        small = None if self._small is None else self._picture(request, "lores", self._small)
        return Taken(self._picture(request, "main", self._main), small, told(metadata), captured_ms)

    def _picture(self, request: Any, stream: str, layout: Layout) -> Pixels:
        """Straight from the mapped buffer: one copy for the large picture, a conversion for the small one."""
        with self._library.mapped(request, stream, reshape=False, write=False) as mapped:
            return bgr(mapped.array, layout)


def small_size(width_px: int, height_px: int) -> tuple[int, int] | None:
    """Of the small stream: the same view with even sides; None when the large one is no larger."""
    high = 2 * round(_SMALL_WIDTH_PX * height_px / width_px / 2)
    return (_SMALL_WIDTH_PX, high) if width_px > _SMALL_WIDTH_PX and high >= 16 else None


def shows_the_same(small: Layout, large: Layout) -> bool:
    """Whether both can be one view: the camera may have changed the sizes that were asked for."""
    across, down = large.width_px / small.width_px, large.height_px / small.height_px
    return across >= 1 and down >= 1 and abs(across / down - 1) <= 0.02


def told(metadata: Mapping[str, Any]) -> dict[str, float]:
    """The numbers worth showing, of those that are there and finite. None is certain."""
    found = {name: metadata.get(name) for name in _TOLD}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _layout(stream: Mapping[str, Any]) -> Layout:
    wide, high = stream["size"]
    return checked(Layout(stream["format"], wide, high, stream["stride"]))
