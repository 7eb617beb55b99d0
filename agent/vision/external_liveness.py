"""External liveness model: a network of the operator, loaded from a path, that can only refuse a shot.

The project ships no such model and makes no claim about any model. Required: an ONNX classifier with one
input, (1, 3, S, S) float32, B,G,R, 0–255, of a square around the face, and one output with one score per
class. This module computes the softmax. Every answer that is not clearly the class "live" refuses the shot:
an invalid answer, a number that is not finite, a face without pixels.
"""

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.config import VetoConfig
from agent.core.model import Detection
from agent.errors import ModelError, reason_of
from agent.texts import Text
from agent.vision.crop import square_around

Pixels = NDArray[np.uint8]

_FIX = Text("fix.external_liveness_model_wrong")


class ExternalLiveness:
    """One loaded network. One call at a time."""

    name = "external liveness model"

    def __init__(self, config: VetoConfig) -> None:
        """Load the model and run it once on a grey picture, so that a wrong model is detected at the start.

        Raises:
            ModelError: ``model_missing``, ``model_checksum``, or ``model_unusable``: the model does not load,
                or its output has no score for the configured class.
        """
        self._config = config
        try:
            raw = config.model.read_bytes()
        except OSError as error:
            raise ModelError(
                Text("detail.veto_unreadable", path=config.model, reason=reason_of(error)),
                code="model_missing",
                fix=_FIX,
            ) from error
        if hashlib.sha256(raw).hexdigest() != config.sha256:
            raise ModelError(
                Text("detail.veto_checksum", path=config.model),
                code="model_checksum",
                fix=_FIX,
            )
        grey = np.full((config.input_px, config.input_px, 3), 128, np.uint8)
        try:
            self._net = cv2.dnn.readNetFromONNX(np.frombuffer(raw, np.uint8))
            scores = self._scores(grey)
        except cv2.error as error:
            raise ModelError(
                Text("detail.veto_unusable", path=config.model, err=error.err),
                fix=_FIX,
            ) from error
        if scores.size <= config.live_class:
            raise ModelError(
                Text("detail.veto_classes", path=config.model, size=scores.size),
                fix=_FIX,
            )

    def is_live(self, bgr: Pixels, face: Detection) -> bool:
        """Whether the network classifies this face as live.

        Args:
            bgr: (H, W, 3) uint8, the full-size frame.
        Raises:
            ModelError: ``model_unusable``, the network failed on this picture.
        """
        square = square_around(bgr, face, self._config.scale)
        if square.size == 0:
            return False
        size = (self._config.input_px, self._config.input_px)
        shrunk = cv2.resize(square, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        try:
            scores = self._scores(shrunk)
        except cv2.error as error:
            raise ModelError(
                Text("detail.veto_failed", err=error.err),
                fix=_FIX,
            ) from error
        if not np.isfinite(scores).all():
            return False
        weights = np.exp(scores - scores.max())
        return bool(weights[self._config.live_class] / weights.sum() >= self._config.threshold)

    def _scores(self, bgr: Pixels) -> NDArray[np.float64]:
        self._net.setInput(cv2.dnn.blobFromImage(bgr))
        return np.asarray(self._net.forward(), np.float64).ravel()
