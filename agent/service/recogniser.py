"""Two pictures to one cosine: YuNet finds faces, SFace describes the largest. Blocking, not thread-safe."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.compare.contract import ApiFailure
from agent.core.model import Detection
from agent.service.image_decoder import Pixels, decode
from agent.vision.detector import Detector
from agent.vision.embedding import SIDE_PX, Embedder, align

_NO_FACE, _NO_FEATURE = -1101, -1103
# YuNet finds faces of 10-300 px in its input: small first, larger only when nobody was found.
_INPUT_WIDTHS_PX = (320, 960)


@dataclass(frozen=True, slots=True)
class Embedding:
    """Unit vector of (128,) float32. ``faces`` counts what was found; the largest is described."""

    vector: NDArray[np.float32] = field(repr=False)
    faces: int


class Recogniser:
    """The two loaded networks."""

    def __init__(self, *, min_face_px: int = 60, threads: int = 1) -> None:
        """Load and check both models. Raises ``ModelError``: missing, changed, does not run."""
        self._min_face_px = min_face_px
        self._detector = Detector.load(threads=threads)
        self._embedder = Embedder()

    def warm(self) -> None:
        """Run both networks once: the first run allocates and is several times slower."""
        blank = np.zeros((_INPUT_WIDTHS_PX[0], _INPUT_WIDTHS_PX[0], 3), np.uint8)
        self._detector.detect(blank, _INPUT_WIDTHS_PX[0])
        self._embedder.describe(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8))

    def embed(self, image: bytes) -> Embedding:
        """Describe the largest face of an encoded picture.

        Raises:
            ApiFailure: -1300, -1400, -1102 (no usable picture), -1101 (no face, or too small a one),
                -1103 (the network gave no finite vector). Without ``fail_flag``: the caller knows the side.
        """
        pixels = decode(image)
        faces = self._faces(pixels)
        if not faces:
            raise ApiFailure(_NO_FACE)
        largest = max(faces, key=lambda face: face.box.area_px)
        if min(largest.box.width_px, largest.box.height_px) < self._min_face_px:
            raise ApiFailure(_NO_FACE, f"the face is smaller than {self._min_face_px} px")
        return Embedding(self._describe(pixels, largest), len(faces))

    def _faces(self, pixels: Pixels) -> tuple[Detection, ...]:
        for width_px in _INPUT_WIDTHS_PX:
            if found := self._detector.detect(pixels, width_px):
                return found
        return ()

    def _describe(self, pixels: Pixels, face: Detection) -> NDArray[np.float32]:
        vector = self._embedder.describe(align(pixels, face))
        if vector is None:
            raise ApiFailure(_NO_FEATURE)
        return vector


def cosine(a: Embedding, b: Embedding) -> float:
    return float(np.dot(a.vector, b.vector))
