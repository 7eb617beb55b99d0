"""The two official weight files of MiniFASNet, with what an import must find.

Origin: github.com/minivision-ai/Silent-Face-Anti-Spoofing, commit b6d5f04a, resources/anti_spoof_models/.
Licence: Apache-2.0. No package registry ships the files, and this project does not ship them either.

``onnx_sha256`` is the network that this project builds from the weights: the same bytes on every machine.
``scores`` are its outputs for ``pattern``, before the softmax; recorded with OpenCV 4.14 on x86.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.vision.passive.minifasnet import INPUT_PX

ORIGIN = "github.com/minivision-ai/Silent-Face-Anti-Spoofing"
LICENCE = "Apache-2.0"
FOLDER = "liveness"  # below the state directory
LIVE_CLASS = 1


@dataclass(frozen=True, slots=True)
class Weights:
    """One official file. ``scale``: side of the square crop, in longer sides of the face box."""

    file: str
    sha256: str
    scale: float
    onnx_file: str
    onnx_sha256: str
    scores: tuple[float, float, float]


OFFICIAL = (
    Weights(
        "2.7_80x80_MiniFASNetV2.pth",
        "a5eb02e1843f19b5386b953cc4c9f011c3f985d0ee2bb9819eea9a142099bec0",
        2.7,
        "minifasnet-2.7.onnx",
        "11f702a229bc718915a324e67b2424d7f3d3c553e7c010b06ea8279843f39f13",
        (-1.5898, 1.7774, -0.1891),
    ),
    Weights(
        "4_0_0_80x80_MiniFASNetV1SE.pth",
        "84ee1d37d96894d5e82de5a57df044ef80a58be2b218b5ed7cdfd875ec2f5990",
        4.0,
        "minifasnet-4.0.onnx",
        "de0c6d3a46fc0adbe9fedaf2c02a08b644909a4293689f193267b48fe7d84430",
        (-4.5208, 1.6745, 2.8460),
    ),
)


def pattern() -> NDArray[np.uint8]:
    """(80, 80, 3): the fixed picture of the check after an import and at each start."""
    rows, columns, channels = np.mgrid[0:INPUT_PX, 0:INPUT_PX, 0:3]
    return np.asarray((3 * columns + 5 * rows * (channels + 1)) % 256, np.uint8)
