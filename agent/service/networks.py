"""Choice of the library that runs the networks: OpenVINO where it is installed and correct, else OpenCV."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from agent.errors import ModelError
from agent.log import facts
from agent.resources import data
from agent.service.openvino_networks import (
    CompiledNetworks,
    OpenVino,
    OpenVinoDetector,
    OpenVinoEmbedder,
)
from agent.texts import Text
from agent.vision.detector import Detector
from agent.vision.embedding import Embedder, EmbeddingModel, Vector, align
from agent.vision.face_turn import SEARCH_PX

log = logging.getLogger(__name__)

_KNOWN_PHOTO = "photos/enrolled/obama_portrait.jpg"
_KNOWN_SIDE_PX = 512  # its width: the upper part is a square, as the input for the orientation of a face
_AGREEMENT_MIN = 1 - 1e-4  # cosine of both embeddings of the known photo


@dataclass(frozen=True, slots=True)
class Networks:
    """YuNet and SFace of one worker. Not thread-safe: one call at a time.

    ``release_buffers``: gives back memory that the next runs allocate again. ``large_pixel_bytes``: measured
    memory of the detector for each pixel of a large input.
    """

    detector: Detector
    embedder: EmbeddingModel
    library: str
    release_buffers: Callable[[], object] = lambda: None
    large_pixel_bytes: int = 80


def load_networks(*, threads: int = 1, workers: int = 1) -> tuple[Networks, ...]:
    """The networks of each worker.

    OpenVINO is used only when its embedding of a known photo is the one of OpenCV.

    Args:
        threads: of one comparison.
    Raises:
        ModelError: weights missing, changed or not usable.
    """
    on_opencv = _opencv_networks(threads)
    try:
        openvino = OpenVino(threads=threads)
        on_openvino = tuple(_openvino_networks(openvino, threads) for _ in range(workers))
        agreement = float(
            np.dot(_embedding_of_known_photo(on_openvino[0]), _embedding_of_known_photo(on_opencv))
        )
        if agreement < _AGREEMENT_MIN:
            raise ModelError(Text("detail.embedding_differs", cosine=f"{agreement:.6f}"))
    except ImportError as error:
        log.debug("openvino_absent", extra=facts(why=error))
    except (RuntimeError, ModelError) as error:
        log.warning("openvino_not_used", extra=facts(why=error))
    else:
        return on_openvino
    return (on_opencv, *(_opencv_networks(threads) for _ in range(workers - 1)))


def _opencv_networks(threads: int) -> Networks:
    return Networks(Detector.load(threads=threads), Embedder(), f"OpenCV {cv2.__version__}")


def _openvino_networks(openvino: OpenVino, threads: int) -> Networks:
    compiled = CompiledNetworks(openvino)
    return Networks(
        OpenVinoDetector(compiled, threads=threads),
        OpenVinoEmbedder(compiled),
        f"OpenVINO {openvino.ov.get_version()}",
        compiled.release_buffers,
        large_pixel_bytes=50,
    )


def _embedding_of_known_photo(networks: Networks) -> Vector:
    """Raises ``ModelError``: no face, or no embedding, in a photo that has both."""
    photo = np.asarray(cv2.imread(str(data(_KNOWN_PHOTO)), cv2.IMREAD_COLOR), np.uint8)
    photo = photo[:_KNOWN_SIDE_PX]
    face = next(iter(networks.detector.detect(photo, SEARCH_PX)), None)
    vector = None if face is None else networks.embedder.describe(align(photo, face))
    if vector is None:
        raise ModelError(Text("detail.no_embedding", library=networks.library))
    return vector
