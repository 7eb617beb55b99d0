"""The last layer of SFace keeps the bytes of the file, and computes with float32."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from agent.service.image_decoder import decode
from agent.service.networks import load_networks
from agent.service.openvino_sface import _packed
from agent.vision.embedding import Embedder, align
from agent.vision.models import SFACE, locate
from tests.service.pictures import photo

DRIFT_MAX = 1e-9  # of the cosine; with 8 bits for the input of the last layer: 7e-7


@pytest.fixture(scope="module")
def weights() -> NDArray[np.float32]:
    net = cv2.dnn.readNetFromONNX(str(locate(SFACE)))
    (last,) = (net.getLayer(name) for name in net.getLayerNames() if net.getLayer(name).type == "Gemm")
    return np.array(last.blobs[0], np.float32)


def test_packed_weights_are_those_of_the_file(weights: NDArray[np.float32]) -> None:
    numbers, zeros, steps = _packed(weights)
    assert numbers.nbytes == weights.nbytes // 4
    errors = np.abs((numbers.astype(np.float32) - zeros) * steps - weights.reshape(numbers.shape))
    errors = (errors / steps).max(2)
    # One block does not use both ends of its 8 bits, so its step is found only nearly.
    assert np.count_nonzero(errors > 1e-3) <= 1
    assert errors.max() <= 0.5


def test_embeddings_differ_from_those_of_opencv_by_rounding_only() -> None:
    networks, plain = load_networks()[0], Embedder()
    for name in ("biden_portrait", "collins_portrait", "obama_podium", "obama_portrait"):
        picture = decode(photo(name))
        aligned = align(picture, networks.detector.detect(picture, 320)[0])
        ours, theirs = networks.embedder.describe(aligned), plain.describe(aligned)
        assert ours is not None and theirs is not None
        one, other = ours.astype(np.float64), theirs.astype(np.float64)
        assert one @ other / np.sqrt((one @ one) * (other @ other)) >= 1 - DRIFT_MAX
