"""YuNet face detector: faces with five landmarks, as typed values in pixels of the input picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import Box, Detection, Landmarks, Point
from agent.core.policy import is_sane
from agent.errors import ModelError
from agent.vision.models import YUNET, locate

Pixels = NDArray[np.uint8]

NMS_OVERLAP = 0.3
MAX_FACES = 64
_MIN_INPUT_PX = 16  # a smaller input cannot hold a face that YuNet finds (about 10 px)
_TALLEST = 2.0  # of the input width: limits the cost of a very tall picture


class Detector:
    """One loaded YuNet. Not thread-safe: one call at a time.

    Faces must be about 10–300 px wide in the *input* of the network. So pictures are scaled down to
    ``width_px``, never up. A face that is smaller in the input is not detected.
    """

    def __init__(
        self, model: Path, *, width_px: int = 320, confidence: float = 0.7, threads: int = 1
    ) -> None:
        """Load the network.

        Args:
            model: a checked file, see ``models.locate``.
            width_px: default width of the network's input; ``detect`` can override it.
            confidence: 0–1; the network drops faces with a lower confidence. No second limit follows.
            threads: worker threads of OpenCV, for the whole process.
        Raises:
            ModelError: ``model_unusable``.
        """
        cv2.setNumThreads(threads)
        self.confidence = confidence
        self._width_px = width_px
        self._input = np.empty((0, 0, 3), np.uint8)
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(model), "", (width_px, width_px), confidence, NMS_OVERLAP, MAX_FACES
            )
        except cv2.error as error:
            raise ModelError(f"{model}: OpenCV cannot load it: {error.err}", code="model_unusable") from error

    @classmethod
    def load(
        cls,
        configured: Path | None = None,
        *,
        width_px: int = 320,
        confidence: float = 0.7,
        threads: int = 1,
    ) -> Detector:
        """The detector with checked weights. Raises ``ModelError``: missing, changed or unusable weights."""
        return cls(locate(YUNET, configured), width_px=width_px, confidence=confidence, threads=threads)

    def detect(self, bgr: Pixels, width_px: int | None = None) -> tuple[Detection, ...]:
        """All faces in one picture, in pixels of the picture, highest confidence first.

        Args:
            bgr: (H, W, 3) uint8, B,G,R.
            width_px: input width for this picture only, for example for a large still.
        Returns:
            Empty without a face, or when the picture is too small for a face. Detections with a number that
            is not finite, and boxes without an area, are dropped.
        Raises:
            ValueError: not an (H, W, 3) uint8 array.
            ModelError: ``model_unusable``, the network failed on this picture.
        """
        if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8:
            raise ValueError(f"expected (H, W, 3) uint8, got {bgr.shape} {bgr.dtype}")
        high, wide = bgr.shape[:2]
        size = _input_size(wide, high, width_px or self._width_px)
        if min(size) < _MIN_INPUT_PX:
            return ()
        try:
            rows = self._run(bgr, size)
        except cv2.error as error:
            raise ModelError(f"YuNet failed on a {wide}×{high} picture: {error.err}") from error
        found = (_detection(row, wide / size[0], high / size[1]) for row in rows)
        return tuple(face for face in found if is_sane(face))

    def wipe(self) -> None:
        """Overwrite the last picture in the input buffer."""
        self._input.fill(0)

    def _run(self, bgr: Pixels, size: tuple[int, int]) -> NDArray[np.float32]:
        if self._input.shape[:2] != size[::-1]:
            self._input = np.empty((size[1], size[0], 3), np.uint8)
            self._net.setInputSize(size)
        # INTER_AREA: bilinear sampling of a 4× smaller picture skips pixels, so small faces are missed
        cv2.resize(bgr, size, dst=self._input, interpolation=cv2.INTER_AREA)
        return self.infer(self._input)

    def infer(self, picture: Pixels) -> NDArray[np.float32]:
        """One run of the network: (N, 15) rows of box, landmarks and confidence, in pixels of ``picture``."""
        rows: Any = self._net.detect(picture)[1]  # None without a face, in contrast to the type stubs
        return np.empty((0, 15), np.float32) if rows is None else rows


def _input_size(wide: int, high: int, width_px: int) -> tuple[int, int]:
    """(width, height) of the network's input, with the aspect ratio of the picture and never larger."""
    if wide < 1 or high < 1:
        return (0, 0)
    scale = min(1.0, width_px / wide, _TALLEST * width_px / high)
    return round(wide * scale), round(high * scale)


def _detection(row: NDArray[np.float32], scale_x: float, scale_y: float) -> Detection:
    x, y, wide, high, *marks, confidence = (float(number) for number in row)
    points = [Point(marks[i] * scale_x, marks[i + 1] * scale_y) for i in range(0, 10, 2)]
    box = Box(x * scale_x, y * scale_y, wide * scale_x, high * scale_y)
    return Detection(box, Landmarks(*points), confidence)
