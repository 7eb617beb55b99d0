"""Program for the Debian with libcamera: the agent's backend on the real picamera2. Prints one line of JSON.

The program only measures; test_virtual_camera.py checks the values.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from agent.camera.picamera import backend as backend_module
from agent.camera.picamera import device as picamera_device
from agent.camera.picamera.backend import PicameraBackend
from agent.camera.picamera.library import import_library
from agent.config import CameraConfig, VisionConfig
from agent.core.model import Frame
from agent.core.policy import PolicyLimits
from agent.errors import CameraError
from agent.root.cameras import make_camera
from agent.root.wiring import BootClock
from agent.vision.face_analyzer import LocalFaceAnalyzer

LIBRARY = import_library()  # before the next imports: replaces a module that Debian lacks

import libcamera  # noqa: E402
import picamera2  # noqa: E402

from tests.camera.virtual.pipeline import adapt  # noqa: E402

adapt()
CLOCK = BootClock()
BUFFERS = 4


def config(source: str = "bars") -> CameraConfig:
    return CameraConfig(kind="picamera2", source=source, fps=30)


def opened(source: str = "bars") -> tuple[PicameraBackend, Any]:
    """A backend and its real camera."""
    backend = PicameraBackend(config(source), CLOCK)
    backend.open()
    assert backend._device is not None
    return backend, backend._device._camera


def files() -> int:
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def in_thread(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def versions() -> dict[str, Any]:
    return {
        "libcamera": libcamera.CameraManager.singleton().version,
        "listed": sorted(camera["Id"] for camera in picamera2.Picamera2.global_camera_info()),
    }


def two_streams() -> dict[str, Any]:
    backend, camera = opened()
    frames = [backend.grab() for _ in range(60)]
    ages = []
    for _ in range(20):
        taken_ms = backend.grab().captured_ms
        ages.append(CLOCK.now_ms() - taken_ms)
    costs = []
    for _ in range(50):
        began = time.perf_counter()
        backend.grab()
        costs.append((time.perf_counter() - began) * 1e3)
    last = frames[-1]
    configured = {name: camera.camera_configuration()[name] for name in ("buffer_count", "queue", "raw")}
    backend.close()
    return {
        **configured,
        "seqs": [frame.seq for frame in frames],
        "shapes": [np.asarray(last.pixels).shape, np.asarray(last.small).shape],
        "colours": len(np.unique(np.asarray(last.pixels)[360, ::40], axis=0)),
        "oldest_ms": max(ages),
        "youngest_ms": min(ages),
        "grab_ms_median": round(statistics.median(costs), 2),
    }


def buffers() -> dict[str, Any]:
    """Free buffers after time-outs of the agent's device, and of a caller that does not cancel."""
    picamera_device._WAIT_S = picamera_device._LATE_S = 0.1
    backend, camera = opened()
    device = backend._device
    assert device is not None
    backend.grab()
    held = [camera.capture_request(wait=2.0) for _ in range(BUFFERS)]
    timed_out = [device.next_frame() for _ in range(3)]
    for request in held:
        request.release()
    free_after_ours = _free(camera)
    held = [camera.capture_request(wait=2.0) for _ in range(BUFFERS)]
    given_up = [camera.capture_request(wait=False) for _ in range(3)]
    for request in held:
        request.release()
    # Held until the end: a request that is garbage-collected ends its libcamera request, and this pipeline
    # crashes now and then when that happens while the camera runs.
    late = [job.get_result(timeout=2.0) for job in given_up]
    free_after_theirs = _free(camera)
    backend.remedies[1][1]()
    for request in late:
        request.release()
    free_after_restart = _free(camera)
    backend.close()
    picamera_device._WAIT_S = 1.0
    return {
        "timed_out": timed_out,
        "free_after_ours": free_after_ours,
        "free_after_theirs": free_after_theirs,
        "free_after_restart": free_after_restart,
    }


def _free(camera: Any) -> int:
    """Number of requests that are available at once."""
    held: list[Any] = []
    try:
        while True:
            held.append(camera.capture_request(wait=0.5))
    except TimeoutError:
        camera.cancel_all_and_flush()
    for request in held:
        request.release()
    return len(held)


def ended_event_loop() -> dict[str, Any]:
    """An exception in a callback; after the restart frames arrive in the same configuration."""
    backend, camera = opened()
    backend.grab()

    def fail(_request: object) -> None:
        camera.pre_callback = None
        raise ValueError("in a callback")

    threading.excepthook = lambda _arguments: None  # the exception ends the library's thread on purpose
    camera.pre_callback = fail
    frames: list[Frame] = []
    reader = in_thread(lambda: frames.append(backend.grab()))
    reader.join(1.5)
    silent = len(frames) <= 1
    frames.clear()
    reader = in_thread(lambda: frames.append(backend.grab())) if not reader.is_alive() else reader
    reader.join(1.5)
    stuck = not frames
    backend.remedies[0][1]()
    backend.remedies[1][1]()
    reader.join(10)
    configured = camera.configure_count
    backend.close()
    return {"silent": silent and stuck, "frames_after_restart": len(frames), "configured": configured}


def reopened() -> dict[str, Any]:
    backend = opened()[0]  # no reference to the first camera: it would keep a file open until the loop
    backend.grab()
    backend.close()
    before, threads = files(), threading.active_count()
    seqs, closing_s = [], []
    for _ in range(10):
        backend.open()
        seqs.append(backend.grab().seq)
        began = time.monotonic()
        backend.close()
        closing_s.append(time.monotonic() - began)
    return {
        "seqs": seqs,
        "more_files": files() - before,
        "more_threads": threading.active_count() - threads,
        "slowest_close_s": round(max(closing_s), 2),
    }


def wrong_source() -> dict[str, Any]:
    try:
        opened("empty")
    except CameraError as error:
        return {"code": error.code, "message": str(error), "fix": str(error.fix)}
    return {}


def face() -> dict[str, Any]:
    """A person in front of the camera, detected by the real analyzer."""
    backend, _ = opened("person")
    analyzer = LocalFaceAnalyzer(VisionConfig(), PolicyLimits())
    analyzer.begin(CLOCK.now_ms())
    frame = backend.grab()
    analysis = analyzer.analyze(frame)
    backend.close()
    shrunk = cv2.resize(np.asarray(frame.pixels), (320, 180), interpolation=cv2.INTER_AREA).astype(int)
    return {
        "reason": analysis.reason.value,
        "views_differ_by": float(np.abs(shrunk - np.asarray(frame.small)).mean()),
        "centre": None
        if analysis.face is None
        else [round(analysis.face.box.centre.x_px), round(analysis.face.box.centre.y_px)],
    }


def terminal_camera() -> dict[str, Any]:
    """The camera as the agent constructs it."""
    camera = make_camera(config(), CLOCK)
    camera.start()

    async def frames() -> list[int]:
        seqs = [0]
        while len(seqs) < 21:
            seqs.append((await camera.next_frame(seqs[-1])).seq)
        return seqs

    seqs = asyncio.run(frames())
    camera.stop()
    return {"ascending": all(a < b for a, b in pairwise(seqs))}


def recovery() -> dict[str, Any]:
    """The event loop of the agent's camera ends; the caller of ``next_frame`` drives the recovery."""
    camera = make_camera(config(), CLOCK)
    camera.start()
    backend: Any = camera._backend
    real = backend._device._camera

    def fail(_request: object) -> None:
        real.pre_callback = None
        raise ValueError("in a callback")

    async def recover() -> tuple[float, list[str]]:
        first = await camera.next_frame(0)
        real.pre_callback = fail
        began, codes = time.monotonic(), []
        await asyncio.sleep(0.5)
        seq = max(first.seq, backend._seq)  # the last frame before the recovery
        while time.monotonic() - began < 30:
            try:
                await camera.next_frame(seq)
                break
            except CameraError as error:
                codes.append(error.code)
                await asyncio.sleep(0.05)
        return time.monotonic() - began, codes

    took_s, codes = asyncio.run(recover())
    same = backend._device._camera is real
    configured = real.configure_count
    camera.stop()
    return {
        "took_s": round(took_s, 1),
        "codes": sorted(set(codes)),
        "recovered": took_s < 30,
        "same": same,
        "configured": configured,
    }


def numbers() -> dict[str, int]:
    """The enumerations that picamera/controls.py contains as numbers."""
    controls = libcamera.controls
    return {
        "AE_SHORT": int(controls.AeExposureModeEnum.Short),
        "AF_CONTINUOUS": int(controls.AfModeEnum.Continuous),
        "AF_FAST": int(controls.AfSpeedEnum.Fast),
        "AF_WINDOWS": int(controls.AfMeteringEnum.Windows),
    }


def control_names() -> list[str]:
    return sorted(name for name in dir(libcamera.controls) if not name.startswith("_"))


def hanging_stop() -> dict[str, Any]:
    """The last step: the driver never returns. The process must still end."""
    backend, camera = opened()
    backend.grab()
    camera.stop_ = lambda: threading.Event().wait()
    restart = in_thread(backend.remedies[1][1])
    camera.stop_preview = lambda: None
    restart.join(0.3)
    began = time.monotonic()
    backend.close()
    took_s = time.monotonic() - began
    try:
        backend.open()
    except CameraError as error:
        return {"close_s": took_s, "bound_s": backend_module._CLOSE_S, "then": error.code}
    return {}


STEPS = (
    *(versions, two_streams, buffers, ended_event_loop, reopened, wrong_source, face),
    *(terminal_camera, recovery, numbers, control_names, hanging_stop),
)
print(json.dumps({part.__name__: part() for part in STEPS}))
