"""The factory of cameras from the config section ``camera``.

The kinds are a closed set: ``CameraConfig.kind`` declares a kind and ``_backend`` constructs its backend. A
kind that is declared and not constructed does not type-check, and raises ``ConfigError`` at run time.
"""

from collections.abc import Callable

from agent.camera.backend import CameraBackend
from agent.camera.orientation import Orientation
from agent.camera.source import NewestFrameSource
from agent.config import CameraConfig
from agent.config.file import unsupported
from agent.core.model import CameraHealth, Frame
from agent.core.ports import Clock
from agent.errors import ConfigError
from agent.health.frame_meter import FrameMeter
from agent.live_view.frame_tap import FrameTap
from agent.texts import Text
from agent.vision.luma import CODED_FROZEN_MS, BrightnessCheck


def make_camera(config: CameraConfig, clock: Clock) -> NewestFrameSource:
    """The configured camera, not started.

    Raises ``ConfigError``: unusable scene, no such source, or a kind without a backend.
    """
    backend, orientation = _backend(config, clock), Orientation(config.rotation, config.mirror)
    return NewestFrameSource(backend, clock, stall_ms=config.stall_ms, orientation=orientation)


def make_brightness_check(config: CameraConfig) -> BrightnessCheck:
    """The check of the brightness, with the time after which this kind of camera counts as frozen."""
    return BrightnessCheck(CODED_FROZEN_MS) if config.kind == "stream" else BrightnessCheck()


def make_frame_check(
    config: CameraConfig, meter: FrameMeter, tap: FrameTap
) -> Callable[[Frame], CameraHealth]:
    """The check of each frame in one place: frame tap, brightness, meter."""
    watch = make_brightness_check(config)

    def check_frame(frame: Frame) -> CameraHealth:
        tap.offer(frame)
        health = watch.check(frame)
        meter.add_frame(frame, health)
        return health

    return check_frame


def _backend(config: CameraConfig, clock: Clock) -> CameraBackend:
    """The backend of a kind; only the modules of this kind are imported."""
    match config.kind:
        case "stream":
            from agent.camera.video import StreamBackend

            return StreamBackend(config, clock)
        case "v4l2":
            from agent.camera.v4l2.backend import V4l2Backend

            return V4l2Backend(config, clock)
        case "picamera2":
            from agent.camera.picamera.backend import PicameraBackend

            return PicameraBackend(config, clock)
        case "replay":
            return _replay(config, clock)
        case _:
            raise unsupported("camera.kind", config.kind)


def _replay(config: CameraConfig, clock: Clock) -> CameraBackend:
    """A directory of pictures, a scene (.toml file or shipped name), or a video file; empty: ``demo``."""
    from agent.camera.simulated.cameras import SceneCamera, StillsCamera
    from agent.camera.simulated.scene import load_scene, scene_path

    source = config.source or "demo"
    path = scene_path(source)
    if path.suffix == ".toml":
        return SceneCamera(config, clock, load_scene(source))
    if path.is_dir():
        return StillsCamera(config, clock)
    if path.is_file():
        from agent.camera.video import VideoFileBackend

        return VideoFileBackend(config, clock)
    raise ConfigError(Text("detail.no_source", source=source))
