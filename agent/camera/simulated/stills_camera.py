"""The backend that shows the pictures of a directory, paced on the injected clock."""

from __future__ import annotations

from pathlib import Path

import cv2

from agent.camera.backend import Remedies
from agent.camera.fitting import fitted
from agent.camera.pacing import Pacer
from agent.camera.simulated.noise import SensorNoise
from agent.config import CameraConfig
from agent.core.model import Frame
from agent.core.ports import Clock
from agent.errors import CameraError
from agent.texts import Text

PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
_SHOWN_MS = 2_000  # duration of each picture
_NOISE = 2.5


class StillsCamera:
    """The pictures of a directory in the order of their names, two seconds each."""

    remedies: Remedies = ()

    def __init__(self, config: CameraConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._pacer = Pacer(clock, config.fps)
        self._folder = Path(config.source)
        self._files: list[Path] = []
        self._shown: Path | None = None
        self._seq = 0
        self._noise = SensorNoise(_NOISE, config.width_px, config.height_px, config.seed)

    def open(self) -> None:
        """Raises ``CameraError`` when the directory contains no picture."""
        try:
            entries = sorted(self._folder.iterdir())
        except OSError as error:
            why, fix = f"{self._folder}: {error.strerror}", Text("fix.correct_camera_source")
            raise CameraError(why, fix=fix) from error
        self._files = [path for path in entries if path.suffix.lower() in PICTURES]
        if not self._files:
            raise CameraError(
                f"{self._folder}: no picture in this directory",
                fix=Text("fix.no_picture_in_directory", pictures=", ".join(PICTURES)),
            )
        self._pacer.open()

    def grab(self) -> Frame:
        """Raises ``CameraError``, naming the file, when a picture cannot be used."""
        number = self._pacer.wait()
        captured_ms = self._clock.now_ms()
        turn = int(number * 1000 / self._config.fps) // _SHOWN_MS
        if turn >= len(self._files) and not self._config.loop:
            raise CameraError(f"{self._folder}: all pictures were shown", fix=Text("fix.set_camera_loop"))
        self._load(self._files[turn % len(self._files)])
        pixels = self._still.copy()
        self._noise.add_to(pixels, number)
        self._seq += 1
        return Frame(pixels, self._seq, captured_ms, self._config.width_px, self._config.height_px)

    def close(self) -> None:
        self._pacer.close()

    def _load(self, path: Path) -> None:
        if path == self._shown:
            return
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise CameraError(f"{path}: not a readable picture", fix=Text("fix.remove_replace_file"))
        self._still = fitted(picture, self._config.width_px, self._config.height_px, str(path))
        self._shown = path
