"""Passive liveness: two imported networks judge one picture of a face. They can only refuse a shot.

Both networks must be present and give finite scores. The mean of both softmax outputs decides, as in the
original project. The original accepts the class with the largest mean; a limit of 0.5 is never less strict.
"""

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import Detection
from agent.errors import ModelError, reason_of
from agent.safe_open import read_plain
from agent.texts import Text
from agent.vision.crop import square_around
from agent.vision.passive.minifasnet import INPUT_PX
from agent.vision.passive.official import FOLDER, LIVE_CLASS, OFFICIAL, Weights, pattern
from agent.vision.passive.torch_file import MAX_BYTES

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float64]

_TOLERANCE = 0.02  # of a score, between processors and versions of OpenCV


class Network:
    """One loaded network. One call at a time."""

    def __init__(self, onnx: bytes, weights: Weights) -> None:
        """Load the network and compare its scores for a fixed picture with the recorded ones.

        Raises:
            ModelError: ``model_checksum`` (another file) or ``model_unusable``.
        """
        self.scale = weights.scale
        if hashlib.sha256(onnx).hexdigest() != weights.onnx_sha256:
            raise ModelError(
                Text("detail.weights_other", name=weights.onnx_file), code="model_checksum", fix=_FIX
            )
        try:
            self._net = cv2.dnn.readNetFromONNX(np.frombuffer(onnx, np.uint8))
            scores = self._run(pattern())
        except cv2.error as error:
            raise ModelError(
                Text("detail.weights_not_run", name=weights.onnx_file, err=error.err), fix=_FIX
            ) from error
        if scores.shape != (3,) or not np.abs(scores - weights.scores).max() <= _TOLERANCE:
            raise ModelError(Text("detail.weights_scores", name=weights.onnx_file), fix=_FIX)

    def softmax(self, bgr: Pixels, face: Detection) -> Scores | None:
        """(3,) probabilities, or None for a face outside the frame or scores that are not finite.

        Raises:
            ModelError: ``model_unusable``, the network failed on this picture.
        """
        square = square_around(bgr, face, self.scale)
        if square.size == 0:
            return None
        shrunk = cv2.resize(square, (INPUT_PX, INPUT_PX), interpolation=cv2.INTER_AREA)
        try:
            scores = self._run(np.asarray(shrunk, np.uint8))
        except cv2.error as error:
            raise ModelError(Text("detail.passive_failed", err=error.err), fix=_FIX) from error
        if scores.shape != (3,) or not np.isfinite(scores).all():
            return None
        weights = np.exp(scores - scores.max())
        return np.asarray(weights / weights.sum(), np.float64)

    def _run(self, bgr: Pixels) -> Scores:
        self._net.setInput(cv2.dnn.blobFromImage(bgr))
        return np.asarray(self._net.forward(), np.float64).ravel()


class PassiveLiveness:
    """Both networks. One call at a time."""

    name = "passive liveness model"

    def __init__(
        self, directory: Path, threshold: float = 0.5, official: tuple[Weights, ...] = OFFICIAL
    ) -> None:
        """Load the networks that ``facepay liveness import`` wrote below the state directory.

        Args:
            threshold: least mean probability of the class "live", 0–1.
        Raises:
            ModelError: ``model_missing``, ``model_checksum`` or ``model_unusable``.
        """
        self._threshold = threshold
        self._networks = [
            Network(_read(directory / FOLDER / weights.onnx_file), weights) for weights in official
        ]

    def is_live(self, bgr: Pixels, face: Detection) -> bool:
        """Whether both networks together classify this face as live.

        Args:
            bgr: (H, W, 3) uint8, the full-size frame.
        Raises:
            ModelError: ``model_unusable``, a network failed on this picture.
        """
        score = self.score(bgr, face)
        return score is not None and score >= self._threshold

    def score(self, bgr: Pixels, face: Detection) -> float | None:
        """The mean probability of the class "live"; None if one network has no valid output."""
        probabilities = [network.softmax(bgr, face) for network in self._networks]
        valid = [outputs[LIVE_CLASS] for outputs in probabilities if outputs is not None]
        return float(np.mean(valid)) if valid and len(valid) == len(probabilities) else None


_FIX = Text("fix.liveness_import_again")


def _read(path: Path) -> bytes:
    try:
        return read_plain(path, MAX_BYTES)
    except OSError as error:
        why = Text("detail.passive_unreadable", path=path, reason=reason_of(error))
        raise ModelError(why, code="model_missing", fix=_FIX) from error
