"""Both networks on OpenVINO: the results of OpenCV for less than half of its CPU time.

OpenVINO determines four things here:

1. ``import openvino`` sends a report of the import to its vendor, over the internet. The modules that do so
   are blocked before the import.
2. OpenVINO refuses the shipped SFace file, whose constants are quantised in blocks. OpenCV reads the file and
   unpacks the constants to float32; this module builds the network again from OpenCV's layers.
3. Without a request for float32 some processors get 16 bits.
4. A network for inputs of any size keeps code for each size without a limit (1 GB after 600 sizes) and takes
   3 ms for each change of the size. So each size of the detector's input has a separate network, for the
   first ``_SIZES_MAX`` sizes. The others run on OpenCV.
"""

import contextlib
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.errors import ModelError
from agent.texts import Text
from agent.vision.detector import MAX_FACES, NMS_OVERLAP, Detector
from agent.vision.embedding import SIDE_PX, Pixels, Vector, unit_vector
from agent.vision.models import SFACE, YUNET, locate

_REPORTING_MODULES = ("openvino_telemetry", "openvino.tools.ovc")
_SIZES_MAX = 6  # each takes 10 to 17 MB, and 0.2 s at its first use
_SIZE_MAX_PX = 320 * 640  # larger inputs are rare and take more memory

# SFace. The file is checked by its sha256, so these numbers of its layers are constants.
_MEAN, _SCALE = np.float32(127.5), np.float32(1 / 128)
_HALVING = {f"conv_{number}_dw_conv2d" for number in (3, 5, 7, 13)}  # stride 2
_EPSILON = {"bn1": 2e-5, "fc1": 2e-5}
_EPSILON_OF_OTHERS = 1e-3

# YuNet
_STRIDES = (8, 16, 32)
_OUTPUTS = ("cls", "obj", "bbox", "kps")


class OpenVino:
    """The library and the compiled networks, for all workers of a process."""

    def __init__(self, *, threads: int, workers: int) -> None:
        """Load the library.

        Args:
            threads: of one comparison.
            workers: parallel comparisons.
        Raises:
            ImportError: not installed, or not loadable on this machine.
        """
        for name in _REPORTING_MODULES:
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the import fails, as without the module
        self.ov: Any = import_module("openvino")
        self._core = self.ov.Core()
        self._config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads * workers,
            "NUM_STREAMS": workers,
            "ENABLE_CPU_PINNING": False,  # two processes would pin their threads to the same core
        }
        self._workers = workers
        self._lock = threading.Lock()
        self._embedder: Any = None
        self._detectors: dict[tuple[int, int], Any] = {}

    def embedder(self) -> Any:
        """SFace, compiled at its first use. For threads.

        Raises ``ModelError``, ``RuntimeError``: the processor or the system refuses.
        """
        with self._lock:
            if self._embedder is None:
                self._embedder = self._core.compile_model(_sface(self.ov), "CPU", self._config)
            return self._embedder

    def detector(self, wide: int, high: int) -> Any | None:
        """YuNet for one input size, compiled at its first use; None above the limits. For threads.

        Raises ``ModelError``, ``RuntimeError``.
        """
        with self._lock:
            found = self._detectors.get((wide, high))
            if found is None and wide * high <= _SIZE_MAX_PX and len(self._detectors) < _SIZES_MAX:
                found = self._core.compile_model(self._yunet(wide, high), "CPU", self._config)
                self._detectors[wide, high] = found
            return found

    def release_buffers(self) -> None:
        """Give back the buffers between the layers, about 6 MB for each network, until their next use.

        With several workers nothing is given back: another worker can use the networks at this moment.
        """
        if self._workers > 1:
            return
        with self._lock:
            for compiled in (self._embedder, *self._detectors.values()):
                with contextlib.suppress(RuntimeError):  # in use by another service of this process
                    if compiled is not None:
                        compiled.release_memory()

    def _yunet(self, wide: int, high: int) -> Any:
        model = self._core.read_model(locate(YUNET))
        model.reshape([1, 3, high, wide])
        steps = self.ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_layout(self.ov.Layout("NHWC"))  # bytes would be reordered twice
        steps.input().model().set_layout(self.ov.Layout("NCHW"))
        return steps.build()


class OpenVinoEmbedder:
    """SFace. Not thread-safe: one call at a time."""

    def __init__(self, openvino: OpenVino, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._input = np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8)
        self._request.set_input_tensor(openvino.ov.Tensor(self._input, shared_memory=True))

    def describe(self, aligned: Pixels) -> Vector | None:
        """As ``Embedder.describe``."""
        self._input[0] = aligned
        self._request.infer()
        self._input.fill(0)
        return unit_vector(self._request.get_output_tensor().data)


class OpenVinoDetector(Detector):
    """YuNet; on OpenCV for an input size above the limits. Not thread-safe: one call at a time."""

    def __init__(self, openvino: OpenVino, *, threads: int) -> None:
        super().__init__(locate(YUNET), threads=threads)
        self._openvino = openvino
        self._requests: dict[tuple[int, int], tuple[Any, NDArray[np.float32]]] = {}

    def infer(self, picture: Pixels) -> NDArray[np.float32]:
        """As ``Detector.infer``."""
        high, wide = (-(-side // _STRIDES[-1]) * _STRIDES[-1] for side in picture.shape[:2])
        found = self._requests.get((wide, high)) or self._request(wide, high)
        if found is None:
            if wide * high > _SIZE_MAX_PX:
                self._openvino.release_buffers()  # OpenCV needs up to 140 MB for the largest input
            return super().infer(picture)
        request, padded = found
        padded[0, : picture.shape[0], : picture.shape[1]] = picture
        request.infer()
        padded.fill(0)
        levels = [
            [request.get_tensor(f"{name}_{stride}").data[0] for name in _OUTPUTS] for stride in _STRIDES
        ]
        return _faces(levels, wide, self.confidence)

    def _request(self, wide: int, high: int) -> tuple[Any, NDArray[np.float32]] | None:
        compiled = self._openvino.detector(wide, high)
        if compiled is None:
            return None
        request, padded = compiled.create_infer_request(), np.zeros((1, high, wide, 3), np.float32)
        request.set_input_tensor(self._openvino.ov.Tensor(padded, shared_memory=True))
        self._requests[wide, high] = request, padded
        return request, padded


def _faces(levels: list[list[NDArray[np.float32]]], wide: int, confidence: float) -> NDArray[np.float32]:
    """Rows of 15 as from ``FaceDetectorYN.detect``: box, five landmarks, confidence; best first.

    Source: ``FaceDetectorYNImpl::postProcess`` of OpenCV.
    """
    rows = []
    for stride, (is_face, is_object, boxes, marks) in zip(_STRIDES, levels, strict=True):
        scores = np.sqrt(np.clip(is_face[:, 0], 0, 1) * np.clip(is_object[:, 0], 0, 1))
        kept = np.flatnonzero(scores >= confidence)
        if not kept.size:
            continue
        cells = np.stack([kept % (wide // stride), kept // (wide // stride)], 1).astype(np.float32)
        centre, size = (boxes[kept, :2] + cells) * stride, np.exp(boxes[kept, 2:]) * stride
        points = (marks[kept].reshape(-1, 5, 2) + cells[:, None]) * stride
        rows.append(np.hstack([centre - size / 2, size, points.reshape(-1, 10), scores[kept, None]]))
    if not rows:
        return np.empty((0, 15), np.float32)
    found = np.vstack(rows).astype(np.float32)
    if len(found) == 1:
        return found
    whole = found[:, :4].astype(np.int32).tolist()
    best = cv2.dnn.NMSBoxes(whole, found[:, 14].tolist(), confidence, NMS_OVERLAP, 1.0, MAX_FACES)
    return found[np.asarray(best, np.intp).reshape(-1)]


def _sface(ov: Any) -> Any:
    """SFace as an OpenVINO model. Input: (1, 112, 112, 3) uint8, B,G,R. Output: (1, 128) float32."""
    path = locate(SFACE)
    try:
        net = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise ModelError(Text("detail.opencv_cannot_load", path=path, err=error.err)) from error
    op = ov.opset13
    picture = op.parameter([1, SIDE_PX, SIDE_PX, 3], np.uint8)
    scaled = op.multiply(op.subtract(op.convert(picture, "f32"), _MEAN), _SCALE)
    node = op.transpose(scaled, np.array([0, 3, 1, 2]))
    for name in net.getLayerNames():
        layer = net.getLayer(net.getLayerId(name))
        node = _added(ov, node, name.removeprefix("onnx_node!"), layer.type, layer.blobs)
    return ov.Model([node], [picture], "SFace")


def _added(ov: Any, node: Any, name: str, kind: str, blobs: Sequence[Any]) -> Any:
    """The network with one more layer."""
    op = ov.opset13

    def constant(blob: Any, *shape: int) -> Any:
        # an array as an argument of a layer takes 300 MB for a moment
        return ov.op.Constant(np.ascontiguousarray(blob.reshape(shape)), shared_memory=True)

    match kind:
        case "Convolution":
            count, depth, side_px, _ = (weights := blobs[0]).shape
            stride, pad = [2 if name in _HALVING else 1] * 2, [side_px // 2] * 2
            if depth == 1:  # one filter for each channel
                filters = constant(weights, count, 1, 1, side_px, side_px)
                return op.group_convolution(node, filters, stride, pad, pad, [1, 1])
            if name == "conv_1_conv2d":
                weights = weights[:, ::-1]  # trained on R,G,B
            return op.convolution(node, constant(weights, *weights.shape), stride, pad, pad, [1, 1])
        case "BatchNorm":
            mean, variance, gamma, beta = (constant(blob, -1) for blob in blobs)
            epsilon = _EPSILON.get(name, _EPSILON_OF_OTHERS)
            return op.batch_norm_inference(node, gamma, beta, mean, variance, epsilon)
        case "PReLU":
            return op.prelu(node, constant(blobs[0], -1))
        case "Gemm":
            flat = op.reshape(node, np.array([1, -1]), False)
            product = op.matmul(flat, constant(blobs[0], *blobs[0].shape), False, True)
            return op.add(product, constant(blobs[1], 1, -1))
        case "Const" | "NaryEltwise" | "Dropout" | "Flatten" | "Identity":
            return node  # the scale of the input, and layers without an effect
    raise ModelError(Text("detail.unknown_layer", kind=kind))
