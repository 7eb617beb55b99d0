"""The camera: there, in time, with light, in focus. Never opened while an agent runs: it is asked instead."""

from __future__ import annotations

import os
from pathlib import Path

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.health.condition_tracker import NO_PICTURE
from agent.health.conditions import CONDITIONS
from agent.texts import Text

_SLOW_SHARE = 0.7  # of camera.fps
_DARK, _BRIGHT = 40.0, 215.0  # mean brightness, 0–255
_BLURRED = 5.0  # sharpness 0–100 of a whole scene; an empty wall is no sharper, so this only warns

_ABSENT = CONDITIONS["camera_absent"].fix
_DENIED = CONDITIONS["camera_denied"].fix
_CABLE = CONDITIONS["camera_unavailable"].fix
_FROZEN = CONDITIONS["camera_frozen"].fix
_LIGHT = Text("fix.improve_light")
_FOCUS = Text("fix.focus_lens")
_LOAD = Text("fix.reduce_load")


def detect(world: World) -> Finding:
    camera = world.config().camera
    told = world.running()
    if told is not None:
        code = next((each["code"] for each in told["conditions"] if each["code"] in NO_PICTURE), None)
        if code is None:
            return passed(f"the agent has it: {told['camera']['kind']}")
        remedy = CONDITIONS[code].fix
        return _device(world) or failed(f"the agent gets no pictures: {code}", remedy)
    trouble = _device(world)
    if trouble is not None:
        return trouble
    look = world.camera()
    return passed(f"{camera.kind} opens, {look.frames} frames")


def _device(world: World) -> Finding | None:
    """Of V4L2: is the device there, and does another program hold it?"""
    camera = world.config().camera
    if camera.kind != "v4l2" or not camera.source.startswith("/dev/"):
        return None
    device = Path(camera.source)
    there = (world.root / device.relative_to("/")).resolve()  # a stable name is a link
    if not there.exists():
        return failed(f"{device} does not exist: the camera is not found by the system", _ABSENT)
    told = world.running()
    if told is None and not os.access(there, os.R_OK | os.W_OK):
        return failed(f"{device} may not be opened by this user", _DENIED)
    for pid, name in _holders(world.root, Path("/") / there.relative_to(world.root.resolve())):
        if told is None or pid != told["pid"]:
            remedy = Text("fix.end_other_program", pid=pid)
            return failed(f"{device} is busy: held by {name} (pid {pid})", remedy)
    return None


def _holders(root: Path, device: Path) -> list[tuple[int, str]]:
    """(pid, name) of the processes that have it open, as far as this user may see them; without our own."""
    found = []
    for descriptor in (root / "proc").glob("[0-9]*/fd/*"):
        process = descriptor.parent.parent
        try:
            if descriptor.readlink() == device and int(process.name) != os.getpid():
                found.append((int(process.name), (process / "comm").read_text().strip()))
        except OSError:
            continue  # ended meanwhile, or another user's
    return found


def frame(world: World) -> Finding:
    """Rate against ``camera.fps``, age against ``camera.stall_ms``."""
    config, told = world.config().camera, world.running()
    if told is None:
        look = world.camera()
        if look.frozen:
            return failed("the same picture again and again", _FROZEN)
        fps = look.fps
    else:
        if any(each["code"] == "camera_frozen" for each in told["conditions"]):
            return failed("the agent sees the same picture again and again", _FROZEN)
        age_ms, fps = told["camera"]["frame_age_ms"], told["camera"]["fps"]
        if age_ms is None or age_ms > config.stall_ms:
            return failed(f"no frame for {'ever' if age_ms is None else f'{age_ms} ms'}", _CABLE)
    words = f"{fps:.1f} fps of {config.fps:g}"
    return warning(words, _LOAD) if fps < _SLOW_SHARE * config.fps else passed(words)


def light(world: World) -> Finding:
    told = world.running()
    luma = world.camera().mean_luma if told is None else told["camera"]["mean_luma"]
    if luma is None:
        return skipped("the agent has no frame yet")
    words = f"mean brightness {luma:.0f} of 255"
    return passed(words) if _DARK <= luma <= _BRIGHT else warning(words, _LIGHT)


def focus(world: World) -> Finding:
    if world.running() is not None:
        return skipped("the agent holds the camera; stop it to measure")
    sharpness = world.camera().sharpness
    words = f"sharpness {sharpness:.0f} of 100"
    return passed(words) if sharpness >= _BLURRED else warning(words, _FOCUS)
