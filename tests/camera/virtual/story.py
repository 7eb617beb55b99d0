"""Run inside the Debian with libcamera: the real picamera2 through our grabber. Ends with one line of JSON.

Nothing is judged here: the test outside does that.
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

from agent.camera.picamera import backend
from agent.camera.picamera import device as picamera_device
from agent.camera.picamera.backend import PicameraBackend
from agent.camera.picamera.library import installed
from agent.config import CameraConfig, VisionConfig
from agent.core.model import Frame
from agent.core.policy import PolicyLimits
from agent.errors import CameraError
from agent.root.cameras import make_camera
from agent.root.wiring import BootClock
from agent.vision.face_analyzer import LocalFaceAnalyzer

LIBRARY = installed()  # before the next line: it stands in for what Debian does not have

import libcamera  # noqa: E402
import picamera2  # noqa: E402

from tests.camera.virtual.pipeline import adapt  # noqa: E402

adapt()
CLOCK = BootClock()
BUFFERS = 4


def config(source: str = "bars") -> CameraConfig:
    return CameraConfig(kind="picamera2", source=source, fps=30)


def opened(source: str = "bars") -> tuple[PicameraBackend, Any]:
    """A grabber, and the real camera behind it."""
    grabber = PicameraBackend(config(source), CLOCK)
    grabber.open()
    assert grabber._device is not None
    return grabber, grabber._device._camera


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
    grabber, camera = opened()
    frames = [grabber.grab() for _ in range(60)]
    ages = []
    for _ in range(20):
        taken_ms = grabber.grab().captured_ms
        ages.append(CLOCK.now_ms() - taken_ms)
    costs = []
    for _ in range(50):
        began = time.perf_counter()
        grabber.grab()
        costs.append((time.perf_counter() - began) * 1e3)
    last = frames[-1]
    told = {name: camera.camera_configuration()[name] for name in ("buffer_count", "queue", "raw")}
    grabber.close()
    return {
        **told,
        "seqs": [frame.seq for frame in frames],
        "shapes": [np.asarray(last.pixels).shape, np.asarray(last.small).shape],
        "colours": len(np.unique(np.asarray(last.pixels)[360, ::40], axis=0)),
        "oldest_ms": max(ages),
        "youngest_ms": min(ages),
        "grab_ms_median": round(statistics.median(costs), 2),
    }


def buffers() -> dict[str, Any]:
    """Time-outs of ours leak nothing; time-outs of whoever does not cancel do."""
    picamera_device._WAIT_S = picamera_device._LATE_S = 0.1
    grabber, camera = opened()
    device = grabber._device
    assert device is not None
    grabber.grab()
    held = [camera.capture_request(wait=2.0) for _ in range(BUFFERS)]
    timed_out = [device.take() for _ in range(3)]
    for request in held:
        request.release()
    free_after_ours = _free(camera)
    held = [camera.capture_request(wait=2.0) for _ in range(BUFFERS)]
    given_up = [camera.capture_request(wait=False) for _ in range(3)]
    for request in held:
        request.release()
    # Kept until the end: one that is forgotten altogether takes its libcamera request along, and this
    # pipeline crashes now and then when that happens to a camera that runs.
    late = [job.get_result(timeout=2.0) for job in given_up]
    free_after_theirs = _free(camera)
    grabber.remedies[1][1]()
    for request in late:
        request.release()
    healed = _free(camera)
    grabber.close()
    picamera_device._WAIT_S = 1.0
    return {
        "timed_out": timed_out,
        "free_after_ours": free_after_ours,
        "free_after_theirs": free_after_theirs,
        "free_after_restart": healed,
    }


def _free(camera: Any) -> int:
    """How many requests can be had at once."""
    held: list[Any] = []
    try:
        while True:
            held.append(camera.capture_request(wait=0.5))
    except TimeoutError:
        camera.cancel_all_and_flush()
    for request in held:
        request.release()
    return len(held)


def dead_event_loop() -> dict[str, Any]:
    """An exception in a callback; the restart brings frames again, in the same configuration."""
    grabber, camera = opened()
    grabber.grab()

    def fail(_request: object) -> None:
        camera.pre_callback = None
        raise ValueError("in a callback")

    threading.excepthook = lambda _what: None  # the library's thread ends by it, as it is meant to
    camera.pre_callback = fail
    frames: list[Frame] = []
    reader = in_thread(lambda: frames.append(grabber.grab()))
    reader.join(1.5)
    silent = len(frames) <= 1
    frames.clear()
    reader = in_thread(lambda: frames.append(grabber.grab())) if not reader.is_alive() else reader
    reader.join(1.5)
    stuck = not frames
    grabber.remedies[0][1]()
    grabber.remedies[1][1]()
    reader.join(10)
    configured = camera.configure_count
    grabber.close()
    return {"silent": silent and stuck, "frames_after_restart": len(frames), "configured": configured}


def reopened() -> dict[str, Any]:
    grabber, _ = opened()
    grabber.grab()
    grabber.close()
    before, threads = files(), threading.active_count()
    seqs, closing_s = [], []
    for _ in range(10):
        grabber.open()
        seqs.append(grabber.grab().seq)
        began = time.monotonic()
        grabber.close()
        closing_s.append(time.monotonic() - began)
    return {
        "seqs": seqs,
        "more_files": files() - before,
        "more_threads": threading.active_count() - threads,
        "slowest_close_s": round(max(closing_s), 2),
    }


def wrong_source() -> dict[str, Any]:
    try:
        opened("nobody")
    except CameraError as error:
        return {"code": error.code, "said": str(error), "fix": str(error.fix)}
    return {}


def face() -> dict[str, Any]:
    """A person in front of the camera, found by the real eye."""
    grabber, _ = opened("person")
    eye = LocalFaceAnalyzer(VisionConfig(), PolicyLimits())
    eye.begin(CLOCK.now_ms())
    frame = grabber.grab()
    seen = eye.look(frame)
    grabber.close()
    shrunk = cv2.resize(np.asarray(frame.pixels), (320, 180), interpolation=cv2.INTER_AREA).astype(int)
    return {
        "reason": seen.reason.value,
        "views_differ_by": float(np.abs(shrunk - np.asarray(frame.small)).mean()),
        "centre": None
        if seen.face is None
        else [round(seen.face.box.centre.x_px), round(seen.face.box.centre.y_px)],
    }


def terminal_camera() -> dict[str, Any]:
    """As the agent has it."""
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


def heals_by_itself() -> dict[str, Any]:
    """The event loop dies under the agent's camera; whoever waits for frames drives the recovery."""
    camera = make_camera(config(), CLOCK)
    camera.start()
    grabber: Any = camera._backend
    real = grabber._device._camera

    def fail(_request: object) -> None:
        real.pre_callback = None
        raise ValueError("in a callback")

    async def story() -> tuple[float, list[str]]:
        first = await camera.next_frame(0)
        real.pre_callback = fail
        began, codes = time.monotonic(), []
        await asyncio.sleep(0.5)
        seq = max(first.seq, grabber._seq)  # nothing after this one comes without help
        while time.monotonic() - began < 30:
            try:
                await camera.next_frame(seq)
                break
            except CameraError as error:
                codes.append(error.code)
                await asyncio.sleep(0.05)
        return time.monotonic() - began, codes

    took_s, codes = asyncio.run(story())
    same = grabber._device._camera is real
    configured = real.configure_count
    camera.stop()
    return {
        "took_s": round(took_s, 1),
        "codes": sorted(set(codes)),
        "healed": took_s < 30,
        "same": same,
        "configured": configured,
    }


def numbers() -> dict[str, int]:
    """The enumerations that are written as numbers in picamera/controls.py."""
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
    """Last: the driver never comes back from this one. The process must end all the same."""
    grabber, camera = opened()
    grabber.grab()
    camera.stop_ = lambda: threading.Event().wait()
    restart = in_thread(grabber.remedies[1][1])
    camera.stop_preview = lambda: None
    restart.join(0.3)
    began = time.monotonic()
    grabber.close()
    took_s = time.monotonic() - began
    try:
        grabber.open()
    except CameraError as error:
        return {"close_s": took_s, "bound_s": backend._CLOSE_S, "then": error.code}
    return {}


STORY = (
    *(versions, two_streams, buffers, dead_event_loop, reopened, wrong_source, face),
    *(terminal_camera, heals_by_itself, numbers, control_names, hanging_stop),
)
print(json.dumps({part.__name__: part() for part in STORY}))
