"""SFace as an OpenVINO model, made from the layers that OpenCV reads.

OpenVINO refuses the shipped file, whose constants are quantised in blocks. OpenCV unpacks them to float32.

Each normalization is multiplied into the weights beside it. OpenVINO would do that itself, in a copy of the
weights that it keeps for each compiled network.

The last layer has 6.4 million weights, each used once, so its time is the time to read them. It keeps the
bytes of the file and their scales, a quarter of the memory. OpenVINO unpacks them in the registers of the
processor and computes with float32: the result changes by rounding only.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.errors import ModelError
from agent.texts import Text
from agent.vision.embedding import SIDE_PX
from agent.vision.models import SFACE, locate

# The file is checked by its sha256, so these numbers of its layers are constants.
_MEAN, _SCALE = np.float32(127.5), np.float32(1 / 128)
_HALVING = {f"conv_{number}_dw_conv2d" for number in (3, 5, 7, 13)}  # stride 2
_EPSILON = {"bn1": 2e-5, "fc1": 2e-5}
_EPSILON_OF_OTHERS = 1e-3
_RGB_NAME = "conv_1_conv2d"  # trained on R,G,B
_BEFORE_LAST = "bn1"  # the normalization in front of the last layer; all others follow their weights
_BLOCK, _STEPS = 64, 255  # the file quantises the weights of the last layer in blocks of one row, to 8 bits

_Numbers = NDArray[np.float64]


def sface(ov: Any) -> Any:
    """The model. Input: (1, 112, 112, 3) uint8, B,G,R. Output: (1, 128) float32.

    Args:
        ov: the imported library.
    Raises:
        ModelError: weights missing, changed or not usable.
    """
    path = locate(SFACE)
    try:
        net = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise ModelError(Text("detail.opencv_cannot_load", path=path, err=error.err)) from error
    op = ov.opset13
    picture = op.parameter([1, SIDE_PX, SIDE_PX, 3], np.uint8)
    scaled = op.multiply(op.subtract(op.convert(picture, "f32"), _MEAN), _SCALE)
    network = _Network(ov, op.transpose(scaled, np.array([0, 3, 1, 2])))
    for name in net.getLayerNames():
        layer = net.getLayer(net.getLayerId(name))
        network.add(name.removeprefix("onnx_node!"), layer.type, layer.blobs)
    return ov.Model([network.node], [picture], "SFace")


class _Network:
    """The layers so far. Weights are stored until the normalization that follows them is known."""

    def __init__(self, ov: Any, node: Any) -> None:
        self.node = node
        self._ov = ov
        self._name = ""  # of the layer with the stored weights
        self._weights = np.empty((0, 0), np.float32)
        self._bias: _Numbers = np.empty(0)
        self._before_last: tuple[_Numbers, _Numbers] = np.empty(0), np.empty(0)

    def add(self, name: str, kind: str, blobs: Any) -> None:
        """Add one layer. Raises ``ModelError``: not a layer of SFace."""
        match kind:
            case "Convolution":
                self._name, self._weights = name, np.array(blobs[0], np.float32)
                self._bias = np.zeros(len(blobs[0]))
            case "Gemm":
                self._name, self._weights = name, np.array(blobs[0], np.float32)
                self._bias = np.asarray(blobs[1], np.float64).reshape(-1)
                self._shift_input(self._before_last[1])
            case "BatchNorm" if name == _BEFORE_LAST:
                self._before_last = _normalization(name, blobs)
            case "BatchNorm":
                scale, shift = _normalization(name, blobs)
                if self._weights.ndim == 2:
                    self._add_last(scale, shift)
                    return
                self._weights *= scale.reshape(-1, *[1] * (self._weights.ndim - 1)).astype(np.float32)
                self._bias = self._bias * scale + shift
                self._add_weights()
            case "PReLU":
                self.node = self._ov.opset13.prelu(self.node, self._constant(blobs[0], -1))
            case "Const" | "NaryEltwise" | "Dropout" | "Flatten" | "Identity":
                pass  # the scale of the input, and layers without an effect
            case _:
                raise ModelError(Text("detail.unknown_layer", kind=kind))

    def _shift_input(self, shift: _Numbers) -> None:
        """Add the effect of the summand of each channel of the input to the bias of the last layer."""
        shifts = np.repeat(shift, self._weights.shape[1] // len(shift))
        for number, row in enumerate(self._weights):  # row by row: float64 of all would take 51 MB
            self._bias[number] += row.astype(np.float64) @ shifts

    def _add_last(self, scale: _Numbers, shift: _Numbers) -> None:
        op = self._ov.opset13
        numbers, zeros, steps = _packed(self._weights)
        steps *= scale[:, None, None].astype(np.float32)
        packed, middle = (op.convert(self._ov.op.Constant(constant), "f32") for constant in (numbers, zeros))
        weights = op.multiply(op.subtract(packed, middle), self._constant(steps, *steps.shape))
        weights = op.reshape(weights, np.array(self._weights.shape), False)
        scaled = op.multiply(self.node, self._constant(self._before_last[0], 1, -1, 1, 1))
        flat = op.reshape(scaled, np.array([1, -1]), False)
        bias = self._constant(self._bias * scale + shift, 1, -1)
        self.node = op.add(op.matmul(flat, weights, False, True), bias)

    def _add_weights(self) -> None:
        op, weights, shape = self._ov.opset13, self._weights, list(self._weights.shape)
        count, depth, side_px, _ = shape
        stride, pad = [2 if self._name in _HALVING else 1] * 2, [side_px // 2] * 2
        if self._name == _RGB_NAME:
            weights = weights[:, ::-1]
        if depth == 1:  # one filter for each channel
            filters = self._constant(weights, count, 1, 1, side_px, side_px)
            convolved = op.group_convolution(self.node, filters, stride, pad, pad, [1, 1])
        else:
            convolved = op.convolution(self.node, self._constant(weights, *shape), stride, pad, pad, [1, 1])
        self.node = op.add(convolved, self._constant(self._bias, 1, -1, 1, 1))

    def _constant(self, numbers: Any, *shape: int) -> Any:
        # an array as an argument of a layer takes 300 MB for a moment
        return self._ov.op.Constant(
            np.ascontiguousarray(numbers.reshape(shape), np.float32), shared_memory=True
        )


def _normalization(name: str, blobs: Any) -> tuple[_Numbers, _Numbers]:
    """(factor, summand) of each channel."""
    mean, variance, gamma, beta = (np.asarray(blob, np.float64).reshape(-1) for blob in blobs)
    scale = gamma / np.sqrt(variance + _EPSILON.get(name, _EPSILON_OF_OTHERS))
    return scale, beta - mean * scale


def _packed(weights: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """The bytes of the file, which OpenCV has unpacked: weight = (byte - zero) * step.

    One block of the file does not use all 256 values, so its weights change by up to half a step.

    Returns:
        Bytes (rows, blocks, 64); zeros and steps, (rows, blocks, 1).
    """
    blocks = weights.reshape(len(weights), -1, _BLOCK)
    lowest = np.minimum(blocks.min(2, keepdims=True), 0)
    highest = np.maximum(blocks.max(2, keepdims=True), 0)
    steps = (highest - lowest) / np.float32(_STEPS)
    zeros = np.rint(-lowest / steps)
    numbers = np.empty(blocks.shape, np.uint8)
    for row, block in enumerate(blocks):  # row by row, without a second copy of all
        numbers[row] = np.clip(np.rint(block / steps[row]) + zeros[row], 0, _STEPS)
    return numbers, zeros.astype(np.uint8), steps
