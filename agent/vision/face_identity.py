"""Continuity of a face during one verification: by geometry and appearance, and after a break by embedding.

A break of the track (a gap, a jump, another appearance at the same place) is no evidence of another person,
and no evidence of the same person. The face is then compared with the first shot of its track by an
embedding. The model is loaded at the first break. Only shots are compared: a turned or blurred face has no
reliable embedding. Without the model every break is UNKNOWN.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import Detection
from agent.core.policy import continuity_of
from agent.core.reasons import Continuity
from agent.core.turn_path import evidence_count
from agent.errors import ModelError
from agent.log import facts
from agent.texts import Text
from agent.vision.embedding import Embedder, EmbeddingModel, Pixels, Vector
from agent.vision.face_tracker import FaceTracker

log = logging.getLogger(__name__)

Matrix = NDArray[np.float32]

# Correlation of two aligned faces as blurred luma without its plane: light from one side makes one gradient
# on every face. Below this value the embedding decides. Measured on three people: the same face at least 0.58
# (other place, size, region or whole frame); other people at most 0.44 in even light, in light from each
# side and across the edge of a shadow. A spot of light on the same part of both faces made 0.64.
_SAME_APPEARANCE = 0.55
_PATCH = (slice(16, 104), slice(12, 100))  # of the aligned face: rows, columns; a square
_PATCH_PX = 12
_BLUR_PX = 5.0  # hides the landmark error of 0.1 eye distances between two frames

_ROWS, _COLUMNS = np.mgrid[-1:1:12j, -1:1:12j].reshape(2, -1)
_PLANE = np.linalg.qr(np.stack([np.ones_like(_ROWS), _ROWS, _COLUMNS], 1))[0]  # (144, 3), orthonormal


@dataclass(frozen=True, slots=True)
class TrackAssignment:
    """The track of one face. ``track`` None: not decided; a later frame may confirm the earlier track."""

    track: int | None
    continuity: Continuity
    similarity: float | None = None  # -1 to 1


class FaceIdentity:
    """Assigns faces to tracks. Stores small pictures of the face until ``begin``. One call at a time."""

    def __init__(self, load: Callable[[], EmbeddingModel] = Embedder) -> None:
        """``load`` is called at the first break of a track. After a ``ModelError`` all breaks are UNKNOWN."""
        self._load = load
        self._model: EmbeddingModel | None = None
        self._is_absent = False
        self.tracker = FaceTracker()
        self._first: Pixels | None = None  # aligned face of the first shot of the track
        self._vector: Vector | None = None  # embedding of ``_first``; None until the first comparison
        self._newest: Vector | None = None  # appearance of the newest shot
        self._described: tuple[Pixels, Vector] | None = None  # the last aligned face and its appearance
        self._is_open = False  # the track broke and no frame has decided yet

    def begin(self) -> None:
        """Delete the face. Called before and after each verification."""
        self.tracker.begin()
        self._first = self._vector = self._newest = self._described = None
        self._is_open = False

    def continues(self, face: Detection, at_ms: int, usable: Pixels | None) -> bool:
        """Whether ``assign`` would keep the track without an embedding. Changes nothing."""
        near = not self._is_open and self.tracker.continues(face.box, at_ms)
        if not near or usable is None or self._newest is None:
            return near
        return _appear_same(self._newest, self._appearance(usable))

    def assign(self, face: Detection, at_ms: int, usable: Pixels | None) -> TrackAssignment:
        """The track of a face with a finite box.

        Args:
            usable: the aligned face when the frame is good enough for a shot, else None.
        """
        if self.continues(face, at_ms, usable):
            return self._keep(face, at_ms, usable, None)
        if self.tracker.number is None or self._first is None:
            return self._renew(face, at_ms, usable, TrackAssignment(None, Continuity.UNKNOWN))
        if usable is None:
            self._is_open = True
            return TrackAssignment(None, Continuity.UNKNOWN)
        similarity = self._similarity(self._first, usable)
        continuity = continuity_of(similarity)
        if continuity is Continuity.SAME:
            return self._keep(face, at_ms, usable, similarity)
        return self._renew(face, at_ms, usable, TrackAssignment(None, continuity, similarity))

    def compare_challenge(
        self, evidence: tuple[object, ...], starts: tuple[object, ...], usable: Pixels
    ) -> Continuity:
        """Whether the faces of a passed challenge and the face of the shot are one person.

        The challenge proves that a head moves, and the track that no other face appeared. This check closes
        the gap between both: one person turns the head, a picture of another person is shown for the shot, or
        for the frames that count. Relief is measured from the start of a turn on, without a break.

        Args:
            evidence: aligned faces: at rest, then two of each turn.
            starts: the aligned face before each turn, which looks straight.
            usable: the aligned face of the shot.
        Returns:
            OTHER if one comparison shows another person; SAME only if all show the same person.
        Raises:
            ModelError: ``model_missing``, the embedding model cannot be loaded.
        """
        model = self._loaded()
        if model is None:
            raise ModelError(Text("detail.embedding_missing"), code="model_missing")
        shot = model.describe(usable)
        faces = (*evidence, *starts)
        vectors = [model.describe(each) if isinstance(each, np.ndarray) else None for each in faces]
        scores = [None if shot is None or each is None else float(np.dot(shot, each)) for each in vectors]
        turned = scores[1 : len(evidence)]
        means = [
            None if one is None or two is None else (one + two) / 2
            for one, two in zip_longest(turned[0::2], turned[1::2])
        ]
        found = {continuity_of(each) for each in (*scores[:1], *scores[len(evidence) :])}
        found |= {continuity_of(mean, turned=True) for mean in means}
        if len(evidence) != evidence_count(len(starts)):
            found.add(Continuity.UNKNOWN)
        if Continuity.OTHER in found:
            return Continuity.OTHER
        return Continuity.SAME if found == {Continuity.SAME} else Continuity.UNKNOWN

    def _keep(
        self, face: Detection, at_ms: int, usable: Pixels | None, similarity: float | None
    ) -> TrackAssignment:
        self._is_open = False
        if usable is not None:
            self._newest = self._appearance(usable)
            self._first = usable if self._first is None else self._first
        return TrackAssignment(self.tracker.keep(face.box, at_ms), Continuity.SAME, similarity)

    def _renew(
        self, face: Detection, at_ms: int, usable: Pixels | None, assigned: TrackAssignment
    ) -> TrackAssignment:
        self._is_open = False
        self._first = usable
        self._newest = None if usable is None else self._appearance(usable)
        self._vector = None
        return TrackAssignment(self.tracker.renew(face.box, at_ms), assigned.continuity, assigned.similarity)

    def _appearance(self, aligned: Pixels) -> Vector:
        """The appearance, computed once: ``continues`` and ``assign`` get the same array."""
        if self._described is None or self._described[0] is not aligned:
            self._described = aligned, _patch(aligned)
        return self._described[1]

    def _similarity(self, first: Pixels, usable: Pixels) -> float | None:
        model = self._loaded()
        if model is None:
            return None
        if self._vector is None:
            self._vector = model.describe(first)
        vector = model.describe(usable)
        return None if self._vector is None or vector is None else float(np.dot(self._vector, vector))

    def _loaded(self) -> EmbeddingModel | None:
        if self._model is None and not self._is_absent:
            try:
                self._model = self._load()
            except ModelError as error:
                self._is_absent = True
                log.warning("identity_model_absent", extra=facts(code=error.code, why=error, fix=error.fix))
        return self._model


def _appear_same(one: Vector, other: Vector) -> bool:
    spread = float(np.sqrt((one @ one) * (other @ other)))
    return spread > 0 and float(one @ other) >= _SAME_APPEARANCE * spread  # a flat patch equals no face


def _patch(face: Pixels) -> Vector:
    """The appearance of an aligned face: its blurred luma without its plane, (144,) float32."""
    luma = cv2.cvtColor(face[_PATCH], cv2.COLOR_BGR2GRAY).astype(np.float32)
    blur = _blur()
    small = (blur @ luma @ blur.T).reshape(-1)
    return np.asarray(small - _PLANE @ (_PLANE.T @ small), np.float32)


@cache
def _blur() -> Matrix:
    """(12, 88): a Gaussian blur and the mean of areas, of one direction.

    Two matrix products are an eighth of the cost of ``cv2.GaussianBlur`` and ``cv2.resize``.
    """
    side = _PATCH[0].stop - _PATCH[0].start
    kernel = cv2.getGaussianKernel(round(8 * _BLUR_PX) | 1, _BLUR_PX, cv2.CV_32F)
    blur = cv2.sepFilter2D(np.eye(side, dtype=np.float32), cv2.CV_32F, np.ones(1, np.float32), kernel)
    return np.asarray(cv2.resize(blur, (side, _PATCH_PX), interpolation=cv2.INTER_AREA), np.float32)
