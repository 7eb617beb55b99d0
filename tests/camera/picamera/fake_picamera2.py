"""A fake picamera2 with the traps of the real library: event loop, requests and four buffers.

Modelled on the library's source (0.3.38), with its names. A sensor thread fills free buffers, the event loop
passes completed requests to waiting jobs, and other requests go back to the sensor. Traps that follow from
the structure:

- a job that is not cancelled completes later, and its buffer never becomes free;
- a held request holds its buffer: with four held requests the camera is silent;
- an exception in ``pre_callback`` ends the event loop, and ``stop()`` then waits for ever;
- a stop that blocks in the driver blocks the event loop, and holds the lock that each call needs;
- an unknown control raises RuntimeError, and a control that is set while a buffer is released may be lost;
- a constructor that fails leaves its pipe open.

Faults that a test switches on: silence, cancelled requests, a hanging driver, busy, absent.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from agent.camera.picamera.library import Library

PERIOD_S = 0.002
PI_CONTROLS: dict[str, tuple[Any, Any, Any]] = {
    "AeEnable": (False, True, None),
    "AeExposureMode": (0, 3, 0),
    "ExposureValue": (-8.0, 8.0, 0.0),
    "FrameDurationLimits": (8_000, 1_000_000, None),
    "ScalerCrop": ((0, 0, 64, 64), (0, 0, 4608, 2592), (0, 0, 4608, 2592)),
}
AUTOFOCUS: dict[str, tuple[Any, Any, Any]] = {
    "AfMode": (0, 2, 0),
    "AfSpeed": (0, 1, 0),
    "AfMetering": (0, 1, 0),
    "AfWindows": ((0, 0, 0, 0), (65535, 65535, 65535, 65535), (0, 0, 0, 0)),
}


class SimulatedHardware:
    """The simulated environment of the library: sensor, driver, other programs. Tests set the attributes."""

    def __init__(self) -> None:
        self.cameras: list[dict[str, Any]] = [{"Model": "imx708", "Id": "/base/i2c/imx708@1a", "Num": 0}]
        self.controls = PI_CONTROLS | AUTOFOCUS
        self.formats = ("RGB888", "YUV420")  # main and lores are adjusted to these
        self.lores_size: tuple[int, int] | None = None  # the requested size is adjusted to this
        self.open_error: Exception | None = None
        self.configure_error: Exception | None = None
        self.is_silent = False  # no frames at all, after the one that the sensor is exposing
        self.rests = threading.Event()  # set when the sensor does nothing because it is silent
        self.cancels = False  # requests come back cancelled, and their buffers are lost
        self.cancelled = 0  # number of cancelled requests
        self.lost_controls = 0  # number of next controls that get lost
        self.stamps = True  # metadata has a SensorTimestamp
        self.metadata: dict[str, Any] = {}
        self.driver_answers = threading.Event()  # cleared: stopping blocks
        self.driver_answers.set()
        self.before_cancel: Callable[[], None] = lambda: None
        self.before_answer: Callable[[], None] = lambda: None  # a job is done and not yet delivered
        self.after_wait: Callable[[], None] = lambda: None
        self.while_mapped: Callable[[], None] = lambda: None
        self.applied: list[dict[str, Any]] = []  # controls that have reached the camera
        self.made: list[Picamera2] = []

    @property
    def camera(self) -> Picamera2:
        return self.made[-1]

    def library(self) -> Library:
        hardware = self

        class OfThisWorld(Picamera2):
            _world = hardware

        return Library(OfThisWorld, MappedArray)


class Job:
    def __init__(self, act: Callable[[], tuple[bool, Any]]) -> None:
        self.act = act
        self.future: Future[Any] = Future()
        self.result: Any = None


class Request:
    """A completed request. ``release`` frees the buffer, if the stream has not been restarted."""

    def __init__(self, camera: Picamera2, buffer: int, number: int, stamp_ns: int) -> None:
        self._camera = camera
        self.buffer = buffer
        self.number = number
        self._stamp_ns = stamp_ns
        self._uses = 1
        self.stop_count = camera.stop_count

    def acquire(self) -> None:
        self._uses += 1

    def release(self) -> None:
        self._uses -= 1
        if self._uses < 0:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        if self._uses == 0 and self.stop_count == self._camera.stop_count and self._camera.started:
            self._camera.deliver_controls()
            self._camera.free.append(self.buffer)

    def get_metadata(self) -> dict[str, Any]:
        assert self._uses > 0, "read after release"
        stamp = {"SensorTimestamp": self._stamp_ns} if self._camera.hardware.stamps else {}
        return stamp | self._camera.hardware.metadata


class MappedArray:
    def __init__(self, request: Request, stream: str, reshape: bool = True, write: bool = True) -> None:
        assert not reshape and not write
        self._request = request
        self._stream = stream
        self.array: NDArray[np.uint8] | None = None

    def __enter__(self) -> MappedArray:
        camera = self._request._camera
        self.array = camera.memory[self._stream][self._request.buffer]
        camera.hardware.while_mapped()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.array = None


class Picamera2:
    _world: ClassVar[SimulatedHardware]

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return cls._world.cameras

    def __init__(self, camera_num: int = 0) -> None:
        self.hardware = self._world
        self.hardware.made.append(self)
        reading, self.notifyme_w = os.pipe()
        self.notifymeread = os.fdopen(reading, "rb")
        self.is_open = False
        if self.hardware.open_error is not None:
            raise RuntimeError("Camera __init__ sequence did not complete.") from self.hardware.open_error
        self.is_open = True
        atexit.register(self.close)
        self.camera_num = camera_num
        self.camera_controls = dict(self.hardware.controls)
        self.started = False
        self.stop_count = 0
        self.configure_count = 0
        self.pre_callback: Callable[[Request], None] | None = None
        self.free: list[int] = []
        self.memory: dict[str, list[NDArray[np.uint8]]] = {}
        self.lock = threading.Lock()
        self._jobs: list[Job] = []
        self._config: dict[str, Any] = {}
        self._controls: dict[str, Any] = {}
        self._fresh: list[Request] = []
        self._number = 0
        self._loop: threading.Thread | None = None
        self._loop_ends = threading.Event()
        self._sensor_ends = threading.Event()
        self._sensor = threading.Thread()

    # --- configuration and controls ---------------------------------------------------------------

    def create_video_configuration(
        self,
        main: Mapping[str, Any],
        lores: Mapping[str, Any] | None = None,
        raw: Mapping[str, Any] | None = None,
        buffer_count: int = 6,
        display: str | None = "main",
        encode: str | None = "main",
        queue: bool = True,
    ) -> dict[str, Any]:
        return {"main": main, "lores": lores, "raw": raw, "buffer_count": buffer_count, "queue": queue}

    def configure(self, camera_config: Mapping[str, Any]) -> None:
        if self.hardware.configure_error is not None:
            raise self.hardware.configure_error
        self.configure_count += 1
        self._config = dict(camera_config)
        sizes = {"lores": self.hardware.lores_size}
        for stream, form in zip(("main", "lores"), self.hardware.formats, strict=True):
            if camera_config[stream] is not None:
                wide, high = sizes.get(stream) or camera_config[stream]["size"]
                stride = -(-wide * (3 if form == "RGB888" else 1) // 64) * 64 + 64  # padded, with 64 extra
                self._config[stream] = {"format": form, "size": (wide, high), "stride": stride}
                rows = high if form == "RGB888" else high * 3 // 2
                count = camera_config["buffer_count"]
                self.memory[stream] = [np.zeros(rows * stride + 4096, np.uint8) for _ in range(count)]

    def camera_configuration(self) -> dict[str, Any]:
        return self._config

    def set_controls(self, controls: Mapping[str, Any]) -> None:
        for name in controls:
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        if self.hardware.lost_controls:
            self.hardware.lost_controls -= 1
            return
        self._controls |= controls

    def deliver_controls(self) -> None:
        if self._controls:
            self.hardware.applied.append(self._controls)
            self._controls = {}

    # --- running ----------------------------------------------------------------------------------

    def start(self) -> None:
        if self._loop is None:
            self._loop_ends.clear()
            self._loop = threading.Thread(target=self._process, daemon=True)
            self._loop.start()
        self.deliver_controls()
        self.free = list(range(self._config["buffer_count"]))
        self.started = True
        self._sensor_ends = threading.Event()
        self._sensor = threading.Thread(target=self._expose, args=(self._sensor_ends,), daemon=True)
        self._sensor.start()

    def stop_preview(self) -> None:
        if self._loop is None:
            raise RuntimeError("No preview specified.")
        self._loop_ends.set()
        self._loop.join()
        self._loop = None

    def stop(self) -> None:
        if not self.started:
            return
        if self._loop is None:
            self._stop()
            return

        def stopped() -> tuple[bool, None]:
            self._stop()
            return (True, None)

        job = Job(stopped)
        with self.lock:
            self._jobs.append(job)
        job.future.result()  # without a time-out, as in the library

    def close(self) -> None:
        atexit.unregister(self.close)
        if self._loop is not None:
            self.stop_preview()
        if not self.is_open:
            return
        self.stop()
        self.is_open = False
        self.notifymeread.close()
        os.close(self.notifyme_w)

    def _stop(self) -> None:
        self.hardware.driver_answers.wait()
        self._sensor_ends.set()
        self._sensor.join()  # otherwise it could fill a buffer of this run in the next one
        self.stop_count += 1
        self.started = False
        self._fresh.clear()

    # --- capturing --------------------------------------------------------------------------------

    def capture_request(self, wait: bool | float | None = None) -> Any:
        def take() -> tuple[bool, Any]:
            return (True, self._completed.pop(0)) if self._completed else (False, None)

        job = Job(take)
        with self.lock:
            self._jobs.append(job)
        return job.future.result(None if wait in (None, True) else wait) if wait is not False else job

    def wait(self, job: Job, timeout: float | None = None) -> Any:
        result = job.future.result(timeout)
        self.hardware.after_wait()
        return result

    def cancel_all_and_flush(self) -> None:
        self.hardware.before_cancel()
        with self.lock:
            for job in self._jobs:
                job.future.set_exception(CancelledError())
            self._jobs = []

    # --- the two threads --------------------------------------------------------------------------

    def _expose(self, ends: threading.Event) -> None:
        """The sensor: fills each free buffer."""
        while not ends.wait(PERIOD_S):
            if self.hardware.is_silent:
                self.hardware.rests.set()
                continue
            if not self.free:
                continue
            buffer = self.free.pop(0)
            if self.hardware.cancels:
                self.hardware.cancelled += 1
                continue
            self._number += 1
            for memory in self.memory.values():
                memory[buffer][:] = self._number % 251
            self._fresh.append(Request(self, buffer, self._number, time.monotonic_ns()))

    def _process(self) -> None:
        """The event loop. An exception in a callback ends the loop."""
        while not self._loop_ends.wait(PERIOD_S / 4):
            with self.lock:
                self._completed = [self._fresh.pop(0) for _ in range(len(self._fresh))]
                if self.pre_callback is not None:
                    for request in self._completed:
                        try:
                            self.pre_callback(request)
                        except Exception:  # ends the thread, without pytest's warning
                            return
                finished = self._work()
                while self._completed:
                    self._completed.pop(0).release()
            for job in finished:
                self.hardware.before_answer()
                job.future.set_result(job.result)

    def _work(self) -> list[Job]:
        finished = []
        while self._jobs:
            done, self._jobs[0].result = self._jobs[0].act()
            if not done:
                break
            finished.append(self._jobs.pop(0))
        return finished
