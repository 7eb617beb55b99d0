"""YuNet face detector: faces with five landmarks, as typed values in pixels of the input picture."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from time import perf_counter as _clock_s
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import Box, Detection, Landmarks, Point
from agent.core.policy import is_well_formed
from agent.errors import ModelError, failure_at
from agent.texts import Text
from agent.vision.models import YUNET, locate
from agent.vision.scaler import Scaler

Pixels = NDArray[np.uint8]

NMS_OVERLAP = 0.3
MAX_FACES = 64
_MEASUREMENTS_MAX, _MEASUREMENTS_S = 5, 0.4  # the first one also allocates the network's layers
# With a side of at most 32 px, the last feature maps are one cell wide, and OpenCV 4.14 reads memory that it
# has not written: false faces in 27 of 30 runs with 480 × 31 black pixels. Frames and photographs are wider.
_MIN_INPUT_PX = 33
_MAX_HEIGHT_SHARE = 2.0  # of the input width: limits the cost of a very tall photograph
_NO_CONFIG = np.empty(0, np.uint8)  # YuNet has no config
_KEPT_INPUT_MAX_PX = 640 * 640  # of a photograph; the buffers between the layers are 50 bytes for each pixel


class Detector:
    """One loaded YuNet. Not thread-safe: one call at a time.

    Faces must be about 10–300 px wide in the *input* of the network. So the longer side of a frame is scaled
    down to ``width_px``, never up. A face that is smaller in the input is not detected. A camera that is
    mounted upright gets the same scale as a horizontal one, so both have the same cost and the same reach.
    """

    def __init__(
        self, model: Path, *, width_px: int = 320, confidence: float = 0.7, threads: int = 1
    ) -> None:
        """Load the network.

        Args:
            model: a checked file, see ``models.locate``.
            width_px: longer side of the network's input for a frame.
            confidence: 0–1; the network drops faces with a lower confidence. No second limit follows.
            threads: worker threads of OpenCV, for the whole process.
        Raises:
            ModelError: ``model_unusable``.
        """
        cv2.setNumThreads(threads)
        self.confidence = confidence
        self._width_px = width_px
        self._scaler = Scaler()
        self._model = model
        try:
            self._weights = np.fromfile(model, np.uint8)
        except OSError as error:
            raise ModelError(failure_at(model, error), code="model_unusable") from error
        self._size = (width_px, width_px)  # of the network's input
        self._net = self._new_network()

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

    def second_network(self) -> Detector:
        """A second network with the same weights, which are neither read nor checked again.

        Raises ``ModelError``: ``model_unusable``.
        """
        twin = copy(self)
        twin._scaler, twin._net = Scaler(), self._new_network()
        return twin

    def detect(self, bgr: Pixels, width_px: int | None = None) -> tuple[Detection, ...]:
        """All faces in one picture, in pixels of the picture, highest confidence first.

        Args:
            bgr: (H, W, 3) uint8, B,G,R.
            width_px: width of the input for this picture only, at any height: for a photograph.
        Returns:
            Empty without a face, or when a side of the network's input is below 33 px. Detections with a
            number that is not finite, and boxes without an area, are dropped.
        Raises:
            ValueError: not an (H, W, 3) uint8 array.
            ModelError: ``model_unusable``, the network failed on this picture.
        """
        if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8:
            raise ValueError(f"expected (H, W, 3) uint8, got {bgr.shape} {bgr.dtype}")
        picture_height, picture_width = bgr.shape[:2]
        size = (
            photo_size(picture_width, picture_height, width_px)
            if width_px
            else _frame_size(picture_width, picture_height, self._width_px)
        )
        if min(size) < _MIN_INPUT_PX:
            return ()
        try:
            rows = self._infer_scaled(bgr, size)
        except cv2.error as error:
            raise ModelError(
                Text("detail.yunet_failed", wide=picture_width, high=picture_height, err=error.err)
            ) from error
        faces = (_detection(row, picture_width / size[0], picture_height / size[1]) for row in rows.tolist())
        return tuple(face for face in faces if is_well_formed(face))

    def set_width(self, width_px: int) -> None:
        """Use another width for frames from the next one on. Boxes stay in pixels of the picture."""
        self._width_px = width_px

    def detection_ms(self, width_px: int, height_px: int) -> float:
        """The time of one detection in a black frame of this size, in ms. Takes at most about half a second.

        The smallest of several times: other programs lengthen a time and never shorten it.
        Raises ``ModelError``.
        """
        frame, times_ms, until_s = (
            np.zeros((height_px, width_px, 3), np.uint8),
            list[float](),
            _clock_s() + _MEASUREMENTS_S,
        )
        for _ in range(_MEASUREMENTS_MAX):
            start_s = _clock_s()
            self.detect(frame)
            times_ms.append((_clock_s() - start_s) * 1e3)
            if _clock_s() > until_s:
                break
        return min(times_ms)

    def wipe(self) -> None:
        """Overwrite the last picture in the buffers."""
        self._scaler.wipe()

    def _infer_scaled(self, bgr: Pixels, size: tuple[int, int]) -> NDArray[np.float32]:
        if self._size != size:
            self._size = size
            self._net.setInputSize(size)
        return self.infer(self._scaler.scaled(bgr, size))

    def _new_network(self) -> cv2.FaceDetectorYN:
        try:
            return cv2.FaceDetectorYN.create(
                "onnx", self._weights, _NO_CONFIG, self._size, self.confidence, NMS_OVERLAP, MAX_FACES
            )
        except cv2.error as error:
            raise ModelError(
                Text("detail.opencv_cannot_load", path=self._model, err=error.err), code="model_unusable"
            ) from error

    def infer(self, picture: Pixels) -> NDArray[np.float32]:
        """One run of the network: (N, 15) rows of box, landmarks and confidence, in pixels of ``picture``."""
        rows: Any = self._net.detect(picture)[1]  # None without a face, in contrast to the type stubs
        # A frame is never larger than the square of its width: the network of the frames is not made again.
        if picture.shape[0] * picture.shape[1] > max(_KEPT_INPUT_MAX_PX, self._width_px**2):
            self._net = self._new_network()  # the old one keeps 45 to 95 MB, and features of the picture
        return np.empty((0, 15), np.float32) if rows is None else rows


def _frame_size(picture_width: int, picture_height: int, longer_px: int) -> tuple[int, int]:
    """(width, height) of the network's input, with the aspect ratio of the frame and never larger."""
    if picture_width < 1 or picture_height < 1:
        return (0, 0)
    scale = min(1.0, longer_px / max(picture_width, picture_height))
    return round(picture_width * scale), round(picture_height * scale)


def photo_size(picture_width: int, picture_height: int, width_px: int) -> tuple[int, int]:
    """(width, height) of the network's input for a photograph: for the width alone, at most twice as high."""
    return _frame_size(
        picture_width,
        picture_height,
        round(min(_MAX_HEIGHT_SHARE, max(1.0, picture_height / max(1, picture_width))) * width_px),
    )


def _detection(row: list[float], scale_x: float, scale_y: float) -> Detection:
    x, y, width, height, *landmarks, confidence = row
    points = [Point(landmarks[i] * scale_x, landmarks[i + 1] * scale_y) for i in range(0, 10, 2)]
    box = Box(x * scale_x, y * scale_y, width * scale_x, height * scale_y)
    return Detection(box, Landmarks(*points), confidence)
