"""Runs in the virtual machine, as root, beside vivid's device: one JSON line a step; see test_vivid.py."""

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


def tell(step: str, **facts: object) -> None:
    print(json.dumps({"step": step, **facts}), flush=True)


def config(**more: object) -> CameraConfig:
    size = {"width_px": 640, "height_px": 360, "fps": 15}
    return CameraConfig.model_validate({"kind": "v4l2", **size, **more})


def opening(**more: object) -> dict[str, str]:
    """What a second camera of ours says when it is opened."""
    grabber = V4l2Backend(config(**more), CLOCK)
    try:
        grabber.open()
    except CameraError as error:
        return {"code": error.code, "why": str(error), "fix": str(error.fix)}
    finally:
        grabber.close()
    return {"code": "", "why": "", "fix": ""}


def as_nobody() -> dict[str, str]:
    """The same in a process of a user outside group video."""
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
    with os.fdopen(read) as said:
        told: dict[str, str] = json.loads(said.read())
    return told


def inject(fault: str) -> None:
    subprocess.run(["/usr/bin/v4l2-ctl", "-d", DEVICE, "-c", f"{fault}=1"], check=True)


async def frames(camera: NewestFrameSource, seq: int, count: int) -> tuple[int, list[int], list[str]]:
    """The next ``count`` frames: newest number, ages in ms, and the codes said until they came."""
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
    """The device goes away for good, and comes back later."""
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
    tell("unplugged", codes=sorted(codes), frames=len(ages))
    return seq


async def story() -> None:
    tell("denied", **as_nobody())
    tell("size", **opening(width_px=1000, height_px=700))
    tell("elsewhere", **opening(source="/dev/v4l/by-id/usb-no-such-camera-video-index0"))
    tell("no camera", **opening(source="/dev/null"))
    camera = make_camera(config(), CLOCK)  # the only one there is
    camera.start()
    seq, ages, codes = await frames(camera, 0, 10)
    tell("runs", frames=len(ages), oldest_ms=max(ages), codes=codes)
    tell("busy", **opening())
    for fault in ("disconnect", "inject_fatal_streaming_error"):
        inject(fault)
        began_s = time.monotonic()
        await asyncio.sleep(0.5)  # what was taken before the fault is of no interest
        seq, ages, codes = await frames(camera, seq, 3)
        tell(fault, frames=len(ages), codes=codes, seconds=round(time.monotonic() - began_s, 1))
    await unplugged(camera, seq)
    camera.stop()
    grabber = V4l2Backend(config(source=DEVICE), CLOCK)
    grabber.open()
    grabber.grab()
    time.sleep(1.5)  # noqa: ASYNC251 - nobody takes what the driver fills its buffers with
    late = grabber.grab()
    tell("late", age_ms=CLOCK.now_ms() - late.captured_ms)
    grabber.close()
    tell("end")


asyncio.run(story())
