"""Backends that show a scene or the pictures of a directory."""

import threading
from pathlib import Path

import cv2

from agent.camera.backend import TimedBackend
from agent.camera.fitting import Pixels, fit_to_size
from agent.camera.simulated.renderer import SceneRenderer, SensorNoise, SpriteCache
from agent.camera.simulated.scene import Scene, load_scene
from agent.config import CameraConfig
from agent.core.ports import Clock
from agent.errors import CameraError, failure_at
from agent.texts import Text

PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
_SHOWN_MS = 2_000  # duration of each picture
_NOISE = 2.5


class SceneCamera(TimedBackend):
    """A scene in front of the camera. ``show`` changes it from any thread."""

    def __init__(self, config: CameraConfig, clock: Clock, scene: Scene) -> None:
        """The scene is drawn in ``open``: a check of the config makes this camera and shows no picture."""
        super().__init__(config, clock)
        self._sprites = SpriteCache()
        self._lock = threading.Lock()
        self._scene = scene
        self._renderer: SceneRenderer | None = None
        self._first_number: int | None = None  # the frame number at which the present scene began

    def show(self, scene: Scene | str) -> None:
        """Change to another scene, or to a shipped scene or a file by name, with the next frame.

        Raises:
            ConfigError: a missing or unusable scene; the old scene stays.
            CameraError: a photograph cannot be read; the old scene stays.
        """
        scene = load_scene(scene) if isinstance(scene, str) else scene
        renderer = self._make_renderer(scene)
        with self._lock:
            self._renderer, self._first_number = renderer, None

    def open(self) -> None:
        """Raises ``CameraError`` when a photograph of the scene cannot be read."""
        if self._renderer is None:
            renderer = self._make_renderer(self._scene)
            with self._lock:
                self._renderer = self._renderer or renderer  # that of ``show`` is newer
        super().open()
        self._first_number = None

    def _make_renderer(self, scene: Scene) -> SceneRenderer:
        config = self._config
        return SceneRenderer(scene, config.width_px, config.height_px, config.seed, self._sprites)

    def _picture(self, number: int) -> Pixels:
        with self._lock:
            renderer = self._renderer
            assert renderer is not None, "opened"
            first_number = number if self._first_number is None else self._first_number
            self._first_number = first_number
        at_ms = round((number - first_number) * 1000 / self._config.fps)
        if at_ms >= renderer.scene.length_ms and not self._config.loop:
            raise CameraError(Text("detail.scene_over"), fix=Text("fix.set_camera_loop"))
        return renderer.picture(at_ms % renderer.scene.length_ms)


class StillsCamera(TimedBackend):
    """The pictures of a directory in the order of their names, two seconds each."""

    def __init__(self, config: CameraConfig, clock: Clock) -> None:
        super().__init__(config, clock)
        self._folder = Path(config.source)
        self._files: list[Path] = []
        self._shown: Path | None = None
        self._noise = SensorNoise(_NOISE, config.width_px, config.seed)

    def open(self) -> None:
        """Raises ``CameraError`` when the directory contains no picture."""
        try:
            entries = sorted(self._folder.iterdir())
        except OSError as error:
            fix = Text("fix.correct_camera_source")
            raise CameraError(failure_at(self._folder, error), fix=fix) from error
        self._files = [path for path in entries if path.suffix.lower() in PICTURES]
        if not self._files:
            fix = Text("fix.no_picture_in_directory", pictures=", ".join(PICTURES))
            raise CameraError(Text("detail.folder_without_picture", folder=self._folder), fix=fix)
        super().open()

    def _picture(self, number: int) -> Pixels:
        """Raises ``CameraError``, naming the file, when a picture cannot be used."""
        picture_index = int(number * 1000 / self._config.fps) // _SHOWN_MS
        if picture_index >= len(self._files) and not self._config.loop:
            raise CameraError(
                Text("detail.pictures_shown", folder=self._folder), fix=Text("fix.set_camera_loop")
            )
        path = self._files[picture_index % len(self._files)]
        if path != self._shown:
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise CameraError(
                    Text("detail.not_a_picture", path=path), fix=Text("fix.remove_replace_file")
                )
            self._still = fit_to_size(picture, self._config.width_px, self._config.height_px, str(path))
            self._shown = path
        pixels = self._still.copy()
        self._noise.add_to(pixels, number)
        return pixels
