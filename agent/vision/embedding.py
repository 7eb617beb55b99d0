"""SFace embeddings: one face as a unit vector, so that the cosine of two vectors compares two faces.

The weights need 20 ms to check, 180 ms to load and about 90 MB of memory (docs/explanation/seeing.md). So a
terminal loads the weights only when a track breaks.
"""

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import Detection
from agent.core.policy import coordinates
from agent.errors import ModelError
from agent.texts import Text
from agent.vision.models import SFACE, locate

Pixels = NDArray[np.uint8]
Vector = NDArray[np.float32]

SIDE_PX = 112
# Positions of the five landmarks in the input of SFace, x + y i in pixels: the template of
# ``FaceRecognizerSF::alignCrop`` of OpenCV. Five numbers of Python need less time than small arrays.
_TEMPLATE = (
    38.2946 + 51.6963j,
    73.5318 + 51.5014j,
    56.0252 + 71.7366j,
    41.5493 + 92.3655j,
    70.7299 + 92.2041j,
)
_TEMPLATE_MEAN = sum(_TEMPLATE) / 5
_TEMPLATE_OFFSETS = [point - _TEMPLATE_MEAN for point in _TEMPLATE]


class EmbeddingModel(Protocol):
    def describe(self, aligned: Pixels) -> Vector | None:
        """The unit vector of an aligned face, or None. Raises ``ModelError``: the network failed."""


class Embedder:
    """One loaded SFace. Not thread-safe: one call at a time."""

    def __init__(self) -> None:
        """Load and check the network. Raises ``ModelError``: missing, changed or unusable weights."""
        path = locate(SFACE)
        try:
            self._net = cv2.FaceRecognizerSF.create(str(path), "")
        except cv2.error as error:
            raise ModelError(Text("detail.opencv_cannot_load", path=path, err=error.err)) from error

    def describe(self, aligned: Pixels) -> Vector | None:
        """The (128,) float32 unit vector of a face from ``align``; None if the network returns no vector."""
        try:
            raw = self._net.feature(aligned)
        except cv2.error:
            return None
        return unit_vector(np.asarray(raw, np.float32))


def unit_vector(raw: Vector) -> Vector | None:
    """A copy of ``raw`` as (N,) with the length 1; None when a number is not finite, or all are 0."""
    vector = raw.reshape(-1)
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        return None
    return vector / np.float32(length)


def align(bgr: Pixels, face: Detection) -> Pixels:
    """The face as (112, 112, 3) uint8 with its landmarks moved, scaled and rolled to SFace's template.

    The least-squares similarity transform of ``alignCrop``, but without a loaded network: a terminal stores
    this small picture instead of the frame. Landmarks must be finite.
    """
    numbers = coordinates(face.landmarks)
    points = [complex(x, y) for x, y in zip(numbers[0::2], numbers[1::2], strict=True)]
    mean = sum(points) / len(points)
    offsets = [point - mean for point in points]
    spread = sum((offset * offset.conjugate()).real for offset in offsets)
    # turns and scales: the template's offsets are nearest to those of the face times this number
    turn = sum(offset.conjugate() * target for offset, target in zip(offsets, _TEMPLATE_OFFSETS, strict=True))
    turn /= max(spread, 1e-6)  # 0 when all five landmarks are one point
    move = _TEMPLATE_MEAN - turn * mean
    matrix = np.array([[turn.real, -turn.imag, move.real], [turn.imag, turn.real, move.imag]])
    return np.asarray(cv2.warpAffine(bgr, matrix, (SIDE_PX, SIDE_PX)), np.uint8)
