"""Checks of the camera: device, frame rate, light, focus, mounting.

While an agent is running, its status is read and the camera is not opened. Focus and mounting then come from
one frame of the agent, which refuses during a verification.
"""

import os
from pathlib import Path

from agent.control.status import pace_text
from agent.core.pace import Pace, choose_pace
from agent.diagnostics.check import Finding, failed, passed, skipped, warning
from agent.diagnostics.check_inputs import CheckInputs
from agent.errors import CameraError
from agent.health import conditions_camera as conditions
from agent.health.probe_results import MountingReading
from agent.health.video_names import stable_name
from agent.texts import Text

_SLOW_SHARE = 0.7  # of camera.fps
_USUAL_FPS = 5.0  # below this rate a track breaks often and needs an embedding
_MIN_FPS = 1.0  # the lowest rate that was tried with the continuity rules (docs/explanation/seeing.md)
_DARK, _BRIGHT = 40.0, 215.0  # mean brightness, 0–255
_DETAILED = 5.0  # sharpness 0–100 of a whole scene in focus; an empty wall in focus has less than 1


def detect(inputs: CheckInputs) -> Finding:
    camera = inputs.config().camera
    status = inputs.status_if_running()
    if status is not None:
        codes = {condition["code"] for condition in status["conditions"]}
        condition = next((condition for condition in conditions.NO_PICTURE if condition.code in codes), None)
        if condition is None:
            return _shared_name(inputs) or passed(
                Text("why.camera.detect.in_use", kind=status["camera"]["kind"])
            )
        why = Text("why.camera.detect.no_pictures", code=condition.code)
        return _device_fault(inputs) or failed(why, condition.fix)
    fault = _device_fault(inputs)
    if fault is not None:
        return fault
    opens = Text("why.camera.detect.opens", kind=camera.kind, frames=inputs.camera().frames)
    return _shared_name(inputs) or passed(opens)


def _device_fault(inputs: CheckInputs) -> Finding | None:
    """V4L2 only: the device is absent, denied to this user, or in use by another program."""
    camera = inputs.config().camera
    if camera.kind != "v4l2" or not camera.source.startswith("/dev/"):
        return None
    device = Path(camera.source)
    node = (inputs.root / device.relative_to("/")).resolve()  # a stable name is a link
    if not node.exists():
        return failed(Text("why.camera.detect.absent", device=device), conditions.CAMERA_ABSENT.fix)
    status = inputs.status_if_running()
    if status is None and not os.access(node, os.R_OK | os.W_OK):
        return failed(Text("why.camera.detect.denied", device=device), conditions.CAMERA_DENIED.fix)
    for pid, name in _device_users(inputs.root, Path("/") / node.relative_to(inputs.root.resolve())):
        if status is None or pid != status["pid"]:
            remedy = Text("fix.end_other_program", pid=pid)
            return failed(Text("why.camera.detect.busy", device=device, name=name, pid=pid), remedy)
    return None


def _shared_name(inputs: CheckInputs) -> Finding | None:
    """A name by id that several cameras share: after the next start it may lead to another camera."""
    source = Path(inputs.config().camera.source)
    if inputs.config().camera.kind != "v4l2" or source.parent != Path("/dev/v4l/by-id"):
        return None
    link = inputs.root / source.relative_to("/")
    stable = stable_name(inputs.root, link)
    if stable.parent == link.parent:
        return None
    remedy = Text("fix.use_camera_path", name=Path("/") / stable.relative_to(inputs.root))
    return warning(Text("why.camera.detect.shared", device=source), remedy)


def _device_users(root: Path, device: Path) -> list[tuple[int, str]]:
    """(pid, name) of the other processes that have the device open, if visible to this user."""
    holders = []
    for descriptor in (root / "proc").glob("[0-9]*/fd/*"):
        process = descriptor.parent.parent
        try:
            if descriptor.readlink() == device and int(process.name) != os.getpid():
                holders.append((int(process.name), (process / "comm").read_text().strip()))
        except OSError:
            continue  # the process ended, or belongs to another user
    return holders


def frame(inputs: CheckInputs) -> Finding:
    """The frame rate against ``camera.fps``, the age of the last frame against ``camera.stall_ms``."""
    config, status = inputs.config().camera, inputs.status_if_running()
    if status is None:
        probe = inputs.camera()
        if probe.frozen:
            return failed(Text("why.camera.frame.frozen"), conditions.CAMERA_FROZEN.fix)
        fps = probe.fps
    else:
        if any(condition["code"] == conditions.CAMERA_FROZEN.code for condition in status["conditions"]):
            return failed(Text("why.camera.frame.frozen_agent"), conditions.CAMERA_FROZEN.fix)
        age_ms, fps = status["camera"]["frame_age_ms"], status["camera"]["fps"]
        if age_ms is None or age_ms > config.stall_ms:
            late_frame = Text("why.camera.frame.late", age_ms=age_ms)
            why = Text("why.camera.frame.none") if age_ms is None else late_frame
            return failed(why, conditions.CAMERA_UNAVAILABLE.fix)
    rate = Text("why.camera.frame.rate", fps=f"{fps:.1f}", wanted=f"{config.fps:g}")
    if fps < _MIN_FPS:
        why = Text("why.camera.frame.too_slow", rate=rate, least=f"{_MIN_FPS:g}")
        return failed(why, Text("fix.reduce_load"))
    return warning(rate, Text("fix.reduce_load")) if fps < _SLOW_SHARE * config.fps else passed(rate)


def speed(inputs: CheckInputs) -> Finding:
    """The measured time of a detection, and the width and the rate that are served with it."""
    status, config = inputs.status_if_running(), inputs.config()
    if status is not None and status.get("pace") is None:
        return skipped(Text("why.camera.speed.not_yet"))
    if status is not None:
        pace = Pace(*(status["pace"][name] for name in ("width_px", "fps", "detection_ms", "reduced")))
    else:
        detection_ms = inputs.model().detection_ms
        width_px, fps = config.vision.detector_width_px, config.camera.fps
        pace = choose_pace(detection_ms, width_px, fps, may_reduce=config.vision.adapt)
    result = pace_text(pace)
    return (
        passed(result)
        if pace.fps >= min(_USUAL_FPS, config.camera.fps)
        else warning(result, Text("fix.reduce_load"))
    )


def light(inputs: CheckInputs) -> Finding:
    luma = _mean_luma(inputs)
    if luma is None:
        return skipped(Text("why.camera.light.no_frame"))
    brightness = Text("why.camera.light.mean", luma=f"{luma:.0f}")
    return passed(brightness) if _DARK <= luma <= _BRIGHT else warning(brightness, Text("fix.improve_light"))


def focus(inputs: CheckInputs) -> Finding:
    """The sharpness of a face against the limit for payers.

    Without a face, a picture with detail is in focus. A picture without detail gives no result: an empty wall
    in focus is no sharper than a scene out of focus. In a dark picture the noise of the sensor counts as
    detail. YuNet finds a face up to a blur of 20 px in 1280.
    """
    try:
        reading = _mounting_reading(inputs)
    except CameraError as error:  # camera.detect and camera.frame name a fault of the camera
        return skipped(Text("why.camera.no_frame", error=error.detail))
    if reading.face_sharpness is None:
        luma = _mean_luma(inputs)
        if luma is not None and luma < _DARK:
            return skipped(Text("why.camera.focus.dark", luma=f"{luma:.0f}"))
        scene = Text("why.camera.focus.scene", sharpness=f"{reading.sharpness:.0f}")
        no_detail = skipped(Text("why.camera.focus.no_detail", scene=scene))
        return passed(scene) if reading.sharpness >= _DETAILED else no_detail
    sharpness, min_sharpness = reading.face_sharpness, inputs.config().policy.min_sharpness
    result = Text("why.camera.focus.face", sharpness=f"{sharpness:.0f}", least=f"{min_sharpness:g}")
    return passed(result) if sharpness >= min_sharpness else warning(result, Text("fix.focus_lens"))


def mounting(inputs: CheckInputs) -> Finding:
    """Whether faces are upright and of a permitted size. Without a face in the picture there is no result."""
    try:
        reading = _mounting_reading(inputs)
    except CameraError as error:  # camera.detect and camera.frame name a fault of the camera
        return skipped(Text("why.camera.no_frame", error=error.detail))
    if reading.rotation is None:
        return skipped(Text("why.camera.mounting.no_face"))
    camera, policy = inputs.config().camera, inputs.config().policy
    if reading.rotation:
        turned = -reading.rotation if camera.mirror else reading.rotation
        remedy = Text("fix.set_camera_rotation", rotation=(camera.rotation + turned) % 360)
        return failed(Text("why.camera.mounting.turned", degrees=reading.rotation), remedy)
    result = Text("why.camera.mounting.upright", width_px=f"{reading.face_width_px:.0f}")
    if reading.face_width_px < policy.min_face_px:
        why = Text("why.camera.mounting.too_small", result=result, least_px=policy.min_face_px)
        return warning(why, Text("fix.face_too_small", least_px=policy.min_face_px))
    if reading.face_fraction > policy.max_face_fraction:
        percent, most = f"{reading.face_fraction:.0%}", f"{policy.max_face_fraction:g}"
        why = Text("why.camera.mounting.too_large", result=result, percent=percent)
        return warning(why, Text("fix.face_too_large", most=most))
    return passed(result)


def _mean_luma(inputs: CheckInputs) -> float | None:
    """0–255; None: the running agent has no frame yet."""
    status = inputs.status_if_running()
    luma: float | None = inputs.camera().mean_luma if status is None else status["camera"]["mean_luma"]
    return luma


def _mounting_reading(inputs: CheckInputs) -> MountingReading:
    """Raises ``CameraReserved``: the agent shows no frame of a payer."""
    return inputs.camera().mounting if inputs.status_if_running() is None else inputs.mounting()
