"""Checks of the camera: device, frame rate, light, focus, mounting.

While an agent is running, its status is read and the camera is not opened. Focus and mounting then come from
one frame of the agent, which refuses during a verification.
"""

from __future__ import annotations

import os
from pathlib import Path

from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.world import World
from agent.errors import CameraError
from agent.health import conditions_camera as conditions
from agent.health.probe_results import MountingReading
from agent.texts import Text

_SLOW_SHARE = 0.7  # of camera.fps
_LEAST_FPS = 1.0  # the lowest rate that was tried with the continuity rules (docs/explanation/seeing.md)
_DARK, _BRIGHT = 40.0, 215.0  # mean brightness, 0–255
_BLURRED = 5.0  # sharpness 0–100 of a whole scene; an empty wall is no sharper, so this only warns


def detect(world: World) -> Finding:
    camera = world.config().camera
    status = world.running()
    if status is not None:
        codes = {each["code"] for each in status["conditions"]}
        condition = next((each for each in conditions.NO_PICTURE if each.code in codes), None)
        if condition is None:
            return passed(f"in use by the agent: {status['camera']['kind']}")
        why = f"the agent gets no pictures: {condition.code}"
        return _device_fault(world) or failed(why, condition.fix)
    return _device_fault(world) or passed(f"{camera.kind} opens, {world.camera().frames} frames")


def _device_fault(world: World) -> Finding | None:
    """V4L2 only: the device is absent, denied to this user, or in use by another program."""
    camera = world.config().camera
    if camera.kind != "v4l2" or not camera.source.startswith("/dev/"):
        return None
    device = Path(camera.source)
    node = (world.root / device.relative_to("/")).resolve()  # a stable name is a link
    if not node.exists():
        return failed(
            f"{device} does not exist: the camera is not found by the system", conditions.CAMERA_ABSENT.fix
        )
    status = world.running()
    if status is None and not os.access(node, os.R_OK | os.W_OK):
        return failed(f"{device} may not be opened by this user", conditions.CAMERA_DENIED.fix)
    for pid, name in _holders(world.root, Path("/") / node.relative_to(world.root.resolve())):
        if status is None or pid != status["pid"]:
            remedy = Text("fix.end_other_program", pid=pid)
            return failed(f"{device} is busy: open in {name} (pid {pid})", remedy)
    return None


def _holders(root: Path, device: Path) -> list[tuple[int, str]]:
    """(pid, name) of the other processes that have the device open, if visible to this user."""
    found = []
    for descriptor in (root / "proc").glob("[0-9]*/fd/*"):
        process = descriptor.parent.parent
        try:
            if descriptor.readlink() == device and int(process.name) != os.getpid():
                found.append((int(process.name), (process / "comm").read_text().strip()))
        except OSError:
            continue  # the process ended, or belongs to another user
    return found


def frame(world: World) -> Finding:
    """The frame rate against ``camera.fps``, the age of the last frame against ``camera.stall_ms``."""
    config, status = world.config().camera, world.running()
    if status is None:
        probe = world.camera()
        if probe.frozen:
            return failed("the same picture again and again", conditions.CAMERA_FROZEN.fix)
        fps = probe.fps
    else:
        if any(each["code"] == conditions.CAMERA_FROZEN.code for each in status["conditions"]):
            return failed("the agent gets the same picture again and again", conditions.CAMERA_FROZEN.fix)
        age_ms, fps = status["camera"]["frame_age_ms"], status["camera"]["fps"]
        if age_ms is None or age_ms > config.stall_ms:
            why = "no frame yet" if age_ms is None else f"no frame for {age_ms} ms"
            return failed(why, conditions.CAMERA_UNAVAILABLE.fix)
    rate = f"{fps:.1f} fps of {config.fps:g}"
    if fps < _LEAST_FPS:
        return failed(f"{rate}: a verification needs at least {_LEAST_FPS:g}", Text("fix.reduce_load"))
    return warning(rate, Text("fix.reduce_load")) if fps < _SLOW_SHARE * config.fps else passed(rate)


def light(world: World) -> Finding:
    status = world.running()
    luma = world.camera().mean_luma if status is None else status["camera"]["mean_luma"]
    if luma is None:
        return skipped("the agent has no frame yet")
    brightness = f"mean brightness {luma:.0f} of 255"
    return passed(brightness) if _DARK <= luma <= _BRIGHT else warning(brightness, Text("fix.improve_light"))


def focus(world: World) -> Finding:
    """The sharpness of a face against the limit for payers; of the whole picture when there is no face."""
    try:
        reading = _mounting(world)
    except CameraError as error:  # camera.detect and camera.frame name a fault of the camera
        return skipped(f"no frame from the agent: {error}")
    sharpness, least = reading.sharpness, _BLURRED
    result = f"sharpness {sharpness:.0f} of 100"
    if reading.face_sharpness is not None:
        sharpness, least = reading.face_sharpness, world.config().policy.min_sharpness
        result = f"sharpness of the face {sharpness:.0f} of 100, at least {least:g} is needed"
    return passed(result) if sharpness >= least else warning(result, Text("fix.focus_lens"))


def mounting(world: World) -> Finding:
    """Whether faces are upright and near enough. Without a face in the picture there is no result."""
    try:
        reading = _mounting(world)
    except CameraError as error:  # camera.detect and camera.frame name a fault of the camera
        return skipped(f"no frame from the agent: {error}")
    if reading.rotation is None:
        return skipped("no face in the picture: stand in front of the camera and run the check again")
    camera, least_px = world.config().camera, world.config().policy.min_face_px
    if reading.rotation:
        turned = -reading.rotation if camera.mirror else reading.rotation
        remedy = Text("fix.set_camera_rotation", rotation=(camera.rotation + turned) % 360)
        return failed(f"faces are upright when the picture is turned by {reading.rotation} degrees", remedy)
    result = f"an upright face, {reading.face_width_px:.0f} px wide"
    if reading.face_width_px < least_px:
        return warning(f"{result}: {least_px:g} px are needed", Text("fix.face_too_small"))
    return passed(result)


def _mounting(world: World) -> MountingReading:
    """Raises ``CameraReserved``: the agent shows no frame of a payer."""
    return world.camera().mounting if world.running() is None else world.mounting()
