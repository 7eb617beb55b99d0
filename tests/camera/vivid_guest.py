"""Program for the virtual machine with vivid's device, run as root: one JSON line a step (test_vivid.py)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from pathlib import Path

from agent.camera.source import NewestFrameSource
from agent.camera.v4l2.backend import V4l2Backend
from agent.config import CameraConfig
from agent.errors import CameraError
from agent.root.cameras import make_camera
from agent.root.wiring import BootClock

DEVICE = "/dev/video0"
DRIVER = Path("/sys/bus/platform/drivers/vivid")
CLOCK = BootClock()
GIVE_UP_S = 60.0


def report(step: str, **facts: object) -> None:
    print(json.dumps({"step": step, **facts}), flush=True)


def config(**more: object) -> CameraConfig:
    size = {"width_px": 640, "height_px": 360, "fps": 15}
    return CameraConfig.model_validate({"kind": "v4l2", **size, **more})


def opening(**more: object) -> dict[str, str]:
    """The error of opening a second backend; empty texts without an error."""
    backend = V4l2Backend(config(**more), CLOCK)
    try:
        backend.open()
    except CameraError as error:
        return {"code": error.code, "why": str(error), "fix": str(error.fix)}
    finally:
        backend.close()
    return {"code": "", "why": "", "fix": ""}


def as_other_user() -> dict[str, str]:
    """``opening`` in a process of a user outside group video."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os.write(write, json.dumps(opening()).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as output:
        error: dict[str, str] = json.loads(output.read())
    return error


def inject(fault: str) -> None:
    subprocess.run(["/usr/bin/v4l2-ctl", "-d", DEVICE, "-c", f"{fault}=1"], check=True)


async def frames(camera: NewestFrameSource, seq: int, count: int) -> tuple[int, list[int], list[str]]:
    """The next ``count`` frames: newest number, ages in ms, and the error codes until then."""
    ages, codes, until_s = list[int](), list[str](), time.monotonic() + GIVE_UP_S
    while len(ages) < count and time.monotonic() < until_s:
        try:
            frame = await camera.next_frame(seq)
        except CameraError as error:
            if error.code not in codes:
                codes.append(error.code)
            await asyncio.sleep(0.1)
        else:
            seq = frame.seq
            ages.append(CLOCK.now_ms() - frame.captured_ms)
    return seq, ages, codes


async def unplugged(camera: NewestFrameSource, seq: int) -> int:
    """The device is removed, and plugged in again after the error ``camera_absent``."""
    (DRIVER / "unbind").write_text("vivid.0")
    codes, until_s = set[str](), time.monotonic() + GIVE_UP_S
    while "camera_absent" not in codes and time.monotonic() < until_s:
        try:
            seq = (await camera.next_frame(seq)).seq
        except CameraError as error:
            codes.add(error.code)
        await asyncio.sleep(0.1)
    (DRIVER / "bind").write_text("vivid.0")
    seq, ages, _ = await frames(camera, seq, 3)
    report("unplugged", codes=sorted(codes), frames=len(ages))
    return seq


async def steps() -> None:
    report("denied", **as_other_user())
    report("size", **opening(width_px=1000, height_px=700))
    report("elsewhere", **opening(source="/dev/v4l/by-id/usb-no-such-camera-video-index0"))
    report("no camera", **opening(source="/dev/null"))
    camera = make_camera(config(), CLOCK)  # without a name: the only camera
    camera.start()
    seq, ages, codes = await frames(camera, 0, 10)
    report("runs", frames=len(ages), oldest_ms=max(ages), codes=codes)
    report("busy", **opening())
    for fault in ("disconnect", "inject_fatal_streaming_error"):
        inject(fault)
        began_s = time.monotonic()
        await asyncio.sleep(0.5)  # skips frames from before the fault
        seq, ages, codes = await frames(camera, seq, 3)
        report(fault, frames=len(ages), codes=codes, seconds=round(time.monotonic() - began_s, 1))
    await unplugged(camera, seq)
    camera.stop()
    backend = V4l2Backend(config(source=DEVICE), CLOCK)
    backend.open()
    backend.grab()
    time.sleep(1.5)  # noqa: ASYNC251 - the driver fills its buffers, and no reader takes them
    late = backend.grab()
    report("late", age_ms=CLOCK.now_ms() - late.captured_ms)
    backend.close()
    report("end")


asyncio.run(steps())
