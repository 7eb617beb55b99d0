"""From the config's ``camera`` section to a camera."""

from __future__ import annotations

from agent.camera.replay import SceneGrabber
from agent.camera.scene import load_scene
from agent.camera.source import NewestFrameSource
from agent.config import CameraConfig
from agent.core.ports import Camera, Clock


def make_camera(config: CameraConfig, clock: Clock) -> Camera:
    grabber = SceneGrabber(config, clock, load_scene(config.source or "demo"))
    return NewestFrameSource(grabber, clock, stall_ms=config.stall_ms)
