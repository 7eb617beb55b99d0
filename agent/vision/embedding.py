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
# Positions of the five landmarks in the input of SFace: the template of ``FaceRecognizerSF::alignCrop`` of
# OpenCV.
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


class EmbeddingModel(Protocol):
    def describe(self, aligned: Pixels) -> Vector | None:
        """The unit vector of an aligned face, or None."""


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
    points = np.array(coordinates(face.landmarks)).reshape(5, 2)
    mean, target = points.mean(0), _TEMPLATE.mean(0)
    x, y = (points - mean).T
    u, v = (_TEMPLATE - target).T
    spread = max(float(x @ x + y @ y), 1e-6)  # 0 when all five landmarks are one point
    a, b = float(x @ u + y @ v) / spread, float(x @ v - y @ u) / spread
    turn = np.array([[a, -b], [b, a]])
    matrix = np.hstack([turn, (target - turn @ mean).reshape(2, 1)])
    return np.asarray(cv2.warpAffine(bgr, matrix, (SIDE_PX, SIDE_PX)), np.uint8)
