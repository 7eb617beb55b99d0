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
        self._is_model_missing = False
        self.tracker = FaceTracker()
        self._first_shot_face: Pixels | None = None  # aligned face of the first shot of the track
        self._first_embedding: Vector | None = None  # of that face; None until the first comparison
        self._newest_appearance: Vector | None = None  # of the newest shot
        # the last aligned face and its appearance
        self._cached_appearance: tuple[Pixels, Vector] | None = None
        self._is_undecided = False  # the track broke and no frame has decided yet

    def begin(self) -> None:
        """Delete the face. Called before and after each verification."""
        self.tracker.begin()
        self._first_shot_face = self._first_embedding = None
        self._newest_appearance = self._cached_appearance = None
        self._is_undecided = False

    def continues(self, face: Detection, at_ms: int, shot_face: Pixels | None) -> bool:
        """Whether ``assign`` would keep the track without an embedding. Changes nothing."""
        is_near = not self._is_undecided and self.tracker.continues(face.box, at_ms)
        if not is_near or shot_face is None or self._newest_appearance is None:
            return is_near
        return _appear_same(self._newest_appearance, self._appearance(shot_face))

    def assign(self, face: Detection, at_ms: int, shot_face: Pixels | None) -> TrackAssignment:
        """The track of a face with a finite box.

        Args:
            shot_face: the aligned face when the frame is good enough for a shot, else None.
        """
        if self.continues(face, at_ms, shot_face):
            return self._extend_track(face, at_ms, shot_face, None)
        if self.tracker.number is None or self._first_shot_face is None:
            return self._start_track(face, at_ms, shot_face, TrackAssignment(None, Continuity.UNKNOWN))
        if shot_face is None:
            self._is_undecided = True
            return TrackAssignment(None, Continuity.UNKNOWN)
        similarity = self._similarity(self._first_shot_face, shot_face)
        continuity = continuity_of(similarity)
        if continuity is Continuity.SAME:
            return self._extend_track(face, at_ms, shot_face, similarity)
        return self._start_track(face, at_ms, shot_face, TrackAssignment(None, continuity, similarity))

    def compare_challenge(
        self, evidence: tuple[object, ...], starts: tuple[object, ...], shot_face: Pixels
    ) -> Continuity:
        """Whether the faces of a passed challenge and the face of the shot are one person.

        The challenge proves that a head moves, and the track that no other face appeared. This check closes
        the gap between both: one person turns the head, a picture of another person is shown for the shot, or
        for the frames that count. Relief is measured from the start of a turn on, without a break.

        Args:
            evidence: aligned faces: at rest, then two of each turn.
            starts: the aligned face before each turn, which looks straight.
            shot_face: the aligned face of the shot.
        Returns:
            OTHER if one comparison shows another person; SAME only if all show the same person.
        Raises:
            ModelError: ``model_missing``, the embedding model cannot be loaded.
        """
        model = self._load_model()
        if model is None:
            raise ModelError(Text("detail.embedding_missing"), code="model_missing")
        shot = model.describe(shot_face)
        faces = (*evidence, *starts)
        embeddings = [model.describe(face) if isinstance(face, np.ndarray) else None for face in faces]
        cosines = [_cosine(shot, embedding) for embedding in embeddings]
        turned, straight = cosines[1 : len(evidence)], (*cosines[:1], *cosines[len(evidence) :])
        results = {continuity_of(cosine) for cosine in straight}
        for first, second in zip_longest(turned[0::2], turned[1::2]):
            mean = None if first is None or second is None else (first + second) / 2
            results.add(continuity_of(mean, turned=True))
        if len(evidence) != evidence_count(len(starts)):
            results.add(Continuity.UNKNOWN)
        if Continuity.OTHER in results:
            return Continuity.OTHER
        return Continuity.SAME if results == {Continuity.SAME} else Continuity.UNKNOWN

    def _extend_track(
        self, face: Detection, at_ms: int, shot_face: Pixels | None, similarity: float | None
    ) -> TrackAssignment:
        self._is_undecided = False
        if shot_face is not None:
            self._newest_appearance = self._appearance(shot_face)
            self._first_shot_face = shot_face if self._first_shot_face is None else self._first_shot_face
        return TrackAssignment(self.tracker.extend_track(face.box, at_ms), Continuity.SAME, similarity)

    def _start_track(
        self, face: Detection, at_ms: int, shot_face: Pixels | None, assigned: TrackAssignment
    ) -> TrackAssignment:
        self._is_undecided = False
        self._first_shot_face = shot_face
        self._newest_appearance = None if shot_face is None else self._appearance(shot_face)
        self._first_embedding = None
        return TrackAssignment(
            self.tracker.start_track(face.box, at_ms), assigned.continuity, assigned.similarity
        )

    def _appearance(self, aligned: Pixels) -> Vector:
        """The appearance, computed once: ``continues`` and ``assign`` get the same array."""
        if self._cached_appearance is None or self._cached_appearance[0] is not aligned:
            self._cached_appearance = aligned, _patch(aligned)
        return self._cached_appearance[1]

    def _similarity(self, first_shot_face: Pixels, shot_face: Pixels) -> float | None:
        model = self._load_model()
        if model is None:
            return None
        if self._first_embedding is None:
            self._first_embedding = model.describe(first_shot_face)
        embedding = model.describe(shot_face)
        return _cosine(self._first_embedding, embedding)

    def _load_model(self) -> EmbeddingModel | None:
        if self._model is None and not self._is_model_missing:
            try:
                self._model = self._load()
            except ModelError as error:
                self._is_model_missing = True
                log.warning("identity_model_absent", extra=facts(code=error.code, why=error, fix=error.fix))
        return self._model


def _cosine(one: Vector | None, other: Vector | None) -> float | None:
    """The cosine of two unit vectors, -1 to 1; None when one is missing."""
    return None if one is None or other is None else float(np.dot(one, other))


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
