"""Face embedding of an image: YuNet detects faces, SFace embeds the largest. Blocking, not thread-safe."""

import math
from bisect import bisect_right
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.compare.contract import ApiFailure
from agent.core.model import Detection
from agent.service.causes import Cause
from agent.service.image_decoder import Pixels, decode_inspected, inspected
from agent.service.memory_budget import DECODE_MAX_BYTES, DecodeBudget
from agent.service.networks import Networks, load_networks
from agent.vision.detector import photo_size
from agent.vision.embedding import SIDE_PX, align
from agent.vision.face_turn import SEARCH_PX, turn_of, turned_crop

_NO_FACE, _NO_FEATURE, _NOT_UPRIGHT = -1101, -1103, -1409
# YuNet finds faces of 10 to 300 px in its input: a small input first, a larger one only without a face.
_INPUT_WIDTH_PX, _LARGE_WIDTH_PX = 320, 960
_LARGE_COST_BYTES = 40_000_000  # of a decoder that takes longer than the buffers of the networks
# (cosine, similarity), both strictly rising; linear interpolation between the knots.
KNOTS = ((0.0, 0.0), (0.363, 70.0), (0.44, 80.0), (0.50, 90.0), (1.0, 100.0))
_COSINES = [cosine for cosine, _ in KNOTS]


@dataclass(frozen=True, slots=True)
class Embedding:
    """Unit vector of shape (128,), float32, of the largest face. ``faces``: number of detected faces."""

    vector: NDArray[np.float32] = field(repr=False)
    faces: int


class Recogniser:
    """Detection and embedding with the networks of one worker."""

    def __init__(
        self,
        networks: Networks | None = None,
        *,
        min_face_px: int = 60,
        memory: DecodeBudget | None = None,
    ) -> None:
        """Without ``networks``, load them. Raises ``ModelError``: missing, modified, or not runnable.

        Args:
            memory: shared by all recognisers; without it, one picture at a time is always affordable.
        """
        self._min_face_px = min_face_px
        self.memory = memory or DecodeBudget(DECODE_MAX_BYTES)
        self._held_bytes = 0  # of the memory, by the present picture
        networks = networks or load_networks()[0]
        self._detector, self._embedder = networks.detector, networks.embedder
        self._release_buffers = networks.release_buffers
        self._large_pixel_bytes = networks.large_pixel_bytes
        self.library = networks.library

    def warm(self) -> None:
        """Run both networks once, because the first run allocates and is several times slower."""
        self._detector.detect(np.zeros((SEARCH_PX, SEARCH_PX, 3), np.uint8), SEARCH_PX)
        self._embedder.describe(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8))

    def embed(self, image: bytes | bytearray) -> Embedding:
        """The embedding of the largest face of an encoded image.

        Raises:
            ApiFailure: -1300, -1400, -1102 (unusable image), -1101 (no face, or the face is too small),
                -1103 (the vector is not finite), 15 (no memory beside the bodies in flight). Without
                ``fail_flag``; the caller sets the flag.
        """
        return self._with_decoded(image, self._embed)

    def embed_reference(self, image: bytes | bytearray) -> Embedding:
        """As ``embed``, for an enrolled photo: a photo that is not upright is turned.

        Raises:
            ApiFailure: as ``embed``; -1409 when the orientation is not certain.
        """
        return self._with_decoded(image, self._embed_upright)

    def _with_decoded(self, image: bytes | bytearray, embed: Callable[[Pixels], Embedding]) -> Embedding:
        header = inspected(image)
        self._held_bytes = header.cost_bytes
        with self.memory.hold(header.cost_bytes):
            if header.cost_bytes > _LARGE_COST_BYTES:
                self._release_buffers()
            try:
                return embed(decode_inspected(header))
            finally:
                self._detector.wipe()

    def _embed_upright(self, pixels: Pixels) -> Embedding:
        is_found = False
        for quarter in range(4):  # in most photos that lie on their side no face is found, or a false one
            if quarter:  # the only reference to the picture: two pictures exist during the copy alone
                pixels = np.ascontiguousarray(np.rot90(pixels, -1))
            if faces := self._faces(pixels):
                is_found, largest = True, self._largest(faces)
                turn_deg = turn_of(pixels, largest, self._detector)
                if turn_deg == 0:
                    return Embedding(self._describe(pixels, largest), len(faces))
                if turn_deg is not None:
                    return Embedding(self._embed(turned_crop(pixels, largest, turn_deg)).vector, len(faces))
        if not is_found:
            raise ApiFailure(_NO_FACE, "no face", cause=Cause.NO_FACE)
        why = "the orientation of the face is not certain"
        raise ApiFailure(_NOT_UPRIGHT, why, cause=Cause.NOT_UPRIGHT)

    def _embed(self, pixels: Pixels) -> Embedding:
        faces = self._faces(pixels)
        return Embedding(self._describe(pixels, self._largest(faces)), len(faces))

    def _largest(self, faces: tuple[Detection, ...]) -> Detection:
        if not faces:
            raise ApiFailure(_NO_FACE, "no face", cause=Cause.NO_FACE)
        largest = max(faces, key=lambda face: face.box.area_px)
        if min(largest.box.width_px, largest.box.height_px) < self._min_face_px:
            why = f"the face is smaller than {self._min_face_px} px"
            raise ApiFailure(_NO_FACE, why, cause=Cause.FACE_SMALL)
        return largest

    def _faces(self, pixels: Pixels) -> tuple[Detection, ...]:
        if faces := self._detector.detect(pixels, _INPUT_WIDTH_PX):
            return faces
        more_bytes = max(0, self._search_bytes(pixels) - self._held_bytes)
        with self.memory.extend(more_bytes) if more_bytes else nullcontext():
            return self._detector.detect(pixels, _LARGE_WIDTH_PX)

    def _search_bytes(self, pixels: Pixels) -> int:
        """The memory of a picture during the search in the larger input, at most that of any decoder."""
        network_px = math.prod(photo_size(pixels.shape[1], pixels.shape[0], _LARGE_WIDTH_PX))
        return min(pixels.nbytes + network_px * self._large_pixel_bytes, DECODE_MAX_BYTES)

    def _describe(self, pixels: Pixels, face: Detection) -> NDArray[np.float32]:
        vector = self._embedder.describe(align(pixels, face))
        if vector is None:
            raise ApiFailure(_NO_FEATURE, cause=Cause.VECTOR)
        return vector


def cosine(a: Embedding, b: Embedding) -> float:
    return float(np.dot(a.vector, b.vector))


def similarity(cosine: float) -> float:
    """The SFace cosine on the scale 0–100 of the API: two decimals, monotonic. NaN for NaN.

    The API documents similarity 70, 80, 90 for false accept rates of 1e-3, 1e-4, 1e-5. One point is
    *measured*: at cosine 0.363, 5 of 3 646 impostor pairs pass (0.14 %, 95 % interval 0.04–0.32 %), so 0.363
    maps to 70. The knots above are an *extrapolation*: the cosine at which a normal tail through the measured
    point (mean 0.05) falls to 1e-4 and 1e-5. These knots are no statement about real error rates.
    """
    if math.isnan(cosine):
        return cosine
    cosine = min(max(cosine, KNOTS[0][0]), KNOTS[-1][0])
    upper = min(bisect_right(_COSINES, cosine), len(KNOTS) - 1)
    (c0, s0), (c1, s1) = KNOTS[upper - 1], KNOTS[upper]
    return round(s0 + (s1 - s0) * (cosine - c0) / (c1 - c0), 2)
