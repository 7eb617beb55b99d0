"""A scene as a camera, paced on the injected clock."""

from __future__ import annotations

import threading

from agent.camera.backend import Remedies
from agent.camera.pacing import Pacer
from agent.camera.simulated.renderer import Props, SceneRenderer
from agent.camera.simulated.scene import Scene, load_scene
from agent.config import CameraConfig
from agent.core.model import Frame
from agent.core.ports import Clock
from agent.errors import CameraError
from agent.texts import Text

_ENDED_FIX = Text("fix.set_camera_loop")


class SceneCamera:
    """A scene in front of the camera. ``show`` changes it from any thread."""

    remedies: Remedies = ()

    def __init__(self, config: CameraConfig, clock: Clock, scene: Scene) -> None:
        """Raises ``CameraError`` when a photograph of the scene cannot be read."""
        self._config = config
        self._clock = clock
        self._pacer = Pacer(clock, config.fps)
        self._props = Props()
        self._lock = threading.Lock()
        self._seq = 0
        self._stage = self._staged(scene)
        self._first: int | None = None  # the frame number at which the scene on stage began

    def show(self, scene: Scene | str) -> None:
        """Put another scene (or a shipped one, or a file, by name) on stage; it starts with the next frame.

        Raises:
            ConfigError: no such scene, or not a usable one; the old one stays.
            CameraError: a photograph cannot be read; the old scene stays.
        """
        stage = self._staged(load_scene(scene) if isinstance(scene, str) else scene)
        with self._lock:
            self._stage = stage
            self._first = None

    def open(self) -> None:
        self._pacer.open()
        self._first = None

    def grab(self) -> Frame:
        number = self._pacer.wait()
        captured_ms = self._clock.now_ms()
        with self._lock:
            stage = self._stage
            first = number if self._first is None else self._first
            self._first = first
        at_ms = round((number - first) * 1000 / self._config.fps)
        if at_ms >= stage.scene.length_ms and not self._config.loop:
            raise CameraError(
                "the scene is over",
                fix=_ENDED_FIX,
            )
        pixels = stage.picture(at_ms % stage.scene.length_ms)
        self._seq += 1
        return Frame(pixels, self._seq, captured_ms, self._config.width_px, self._config.height_px)

    def close(self) -> None:
        self._pacer.close()

    def _staged(self, scene: Scene) -> SceneRenderer:
        return SceneRenderer(
            scene, self._config.width_px, self._config.height_px, self._config.seed, self._props
        )
