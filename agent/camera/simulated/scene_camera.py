"""The backend that shows a scene, paced on the injected clock."""

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
        self._renderer = self._renderer_of(scene)
        self._first: int | None = None  # the frame number at which the present scene began

    def show(self, scene: Scene | str) -> None:
        """Change to another scene, or to a shipped scene or a file by name, with the next frame.

        Raises:
            ConfigError: a missing or unusable scene; the old scene stays.
            CameraError: a photograph cannot be read; the old scene stays.
        """
        renderer = self._renderer_of(load_scene(scene) if isinstance(scene, str) else scene)
        with self._lock:
            self._renderer = renderer
            self._first = None

    def open(self) -> None:
        self._pacer.open()
        self._first = None

    def grab(self) -> Frame:
        number = self._pacer.wait()
        captured_ms = self._clock.now_ms()
        with self._lock:
            renderer = self._renderer
            first = number if self._first is None else self._first
            self._first = first
        at_ms = round((number - first) * 1000 / self._config.fps)
        if at_ms >= renderer.scene.length_ms and not self._config.loop:
            raise CameraError("the scene is over", fix=Text("fix.set_camera_loop"))
        pixels = renderer.picture(at_ms % renderer.scene.length_ms)
        self._seq += 1
        return Frame(pixels, self._seq, captured_ms, self._config.width_px, self._config.height_px)

    def close(self) -> None:
        self._pacer.close()

    def _renderer_of(self, scene: Scene) -> SceneRenderer:
        return SceneRenderer(
            scene, self._config.width_px, self._config.height_px, self._config.seed, self._props
        )
