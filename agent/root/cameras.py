"""The camera of a config's ``camera`` section."""

from __future__ import annotations

from agent.camera.backend import CameraBackend
from agent.camera.simulated.scene import load_scene, scene_path
from agent.camera.simulated.scene_camera import SceneCamera
from agent.camera.simulated.stills_camera import StillsCamera
from agent.camera.source import NewestFrameSource
from agent.camera.v4l2.backend import V4l2Backend
from agent.camera.video import StreamBackend, VideoFileBackend
from agent.config import CameraConfig
from agent.core.ports import Clock
from agent.errors import ConfigError

_DEFAULT_SCENE = "demo"


def make_camera(config: CameraConfig, clock: Clock) -> NewestFrameSource:
    """The configured camera, not started.

    A replay source is a directory of pictures, a scene (a .toml file or the name of a shipped scene) or a
    video file. An empty replay source is the shipped demo scene.

    Raises:
        ConfigError: the scene is unusable or the source does not exist.
    """
    return NewestFrameSource(_backend(config, clock), clock, stall_ms=config.stall_ms)


def _backend(config: CameraConfig, clock: Clock) -> CameraBackend:
    if config.kind == "stream":
        return StreamBackend(config, clock)
    if config.kind == "v4l2":
        return V4l2Backend(config, clock)
    if config.kind == "picamera2":
        from agent.camera.picamera.backend import PicameraBackend

        return PicameraBackend(config, clock)
    source = config.source or _DEFAULT_SCENE
    path = scene_path(source)
    if path.suffix == ".toml":
        return SceneCamera(config, clock, load_scene(source))
    if path.is_dir():
        return StillsCamera(config, clock)
    if path.is_file():
        return VideoFileBackend(config, clock)
    raise ConfigError(f"camera.source: {source}: no such file, directory or scene")
