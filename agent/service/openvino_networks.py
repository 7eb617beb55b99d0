"""Both networks on OpenVINO: the results of OpenCV for less than half of its CPU time.

Four properties of OpenVINO determine this module:

1. ``import openvino`` sends a report of the import to its vendor, over the internet. The modules that do so
   are blocked before the import.
2. Without a request for float32 some processors get 16 bits.
3. Each worker has compiled networks of its own, with one stream. A network with several streams runs in
   threads of the library: with several networks, the runs of two workers often block each other (1.2 times
   the answers of one worker). A network with one stream runs in the thread of the caller.
4. A network for inputs of any size keeps code for each size without a limit (1 GB after 600 sizes) and takes
   3 ms for each change of the size. So each size of the detector's input has a separate network, for the
   first ``_SIZES_MAX`` sizes. Further small sizes run on OpenCV. For a large input a network is compiled for
   one picture, then released.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import ModelError
from agent.service.openvino_sface import sface
from agent.service.openvino_yunet import STRIDES, faces, yunet
from agent.texts import Text
from agent.vision.detector import Detector
from agent.vision.embedding import SIDE_PX, Pixels, Vector, unit_vector
from agent.vision.models import YUNET, locate

_REPORTING_MODULES = ("openvino_telemetry", "openvino.tools.ovc")
_SIZES_MAX = 6  # of each worker; each takes 10 to 17 MB, and 0.2 s at its first use
_SIZE_MAX_PX = 320 * 640  # larger inputs are rare


class OpenVino:
    """The library, for all workers of a process."""

    def __init__(self, *, threads: int) -> None:
        """Load the library.

        Args:
            threads: of one comparison.
        Raises:
            ImportError: not installed, or not loadable on this machine.
        """
        for name in _REPORTING_MODULES:
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the import fails, as without the module
        self.ov: Any = import_module("openvino")
        self._core = self.ov.Core()
        self._sface: Any = None
        self._yunets: dict[bool, Any] = {}  # by the type of the input
        self._lock = threading.Lock()
        self._config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # otherwise the input of the last layer gets 8 bits
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # two processes would pin their threads to the same core
        }

    def compile_sface(self) -> Any:
        """Compile SFace. All compiled networks share one model, which keeps 19 MB of weights.

        Raises ``ModelError``, ``RuntimeError``: the processor or the system refuses.
        """
        self._sface = self._sface or sface(self.ov)
        return self._core.compile_model(self._sface, "CPU", self._config)

    def compile_yunet(self, width: int, height: int, *, of_bytes: bool = False) -> Any:
        """Compile YuNet for one input size. For threads. Raises ``ModelError``, ``RuntimeError``.

        Args:
            of_bytes: the input is uint8, not float32.
        """
        with self._lock:
            model = self._yunets.get(of_bytes) or yunet(self.ov, self._core, of_bytes=of_bytes)
            self._yunets[of_bytes] = model
            model = model.clone()
        model.reshape([1, height, width, 3])
        return self._core.compile_model(model, "CPU", self._config)


class CompiledNetworks:
    """The compiled networks of one worker. Not thread-safe: one call at a time."""

    def __init__(self, openvino: OpenVino) -> None:
        """Compile SFace. Raises as ``OpenVino.compile_sface``."""
        self.openvino = openvino
        self.embedder = openvino.compile_sface()
        self._detectors: dict[tuple[int, int], Any] = {}

    def detector(self, width: int, height: int) -> Any | None:
        """YuNet for one input size, compiled at its first use; None above the limits.

        Raises ``ModelError``, ``RuntimeError``.
        """
        compiled = self._detectors.get((width, height))
        if compiled is None and width * height <= _SIZE_MAX_PX and len(self._detectors) < _SIZES_MAX:
            compiled = self._detectors[width, height] = self.openvino.compile_yunet(width, height)
        return compiled

    def release_buffers(self) -> None:
        """Give back the buffers between the layers, about 6 MB for each network, until their next use."""
        for compiled in (self.embedder, *self._detectors.values()):
            compiled.release_memory()


@contextmanager
def _failures_of(network: str) -> Iterator[None]:
    """Raise ``ModelError`` in place of the ``RuntimeError`` of the library."""
    try:
        yield
    except RuntimeError as error:
        raise ModelError(Text("detail.openvino_failed", network=network, err=str(error))) from error


def _infer_and_clear(request: Any, input_data: NDArray[Any]) -> None:
    """Run the network on ``input_data``, its input, which is empty afterwards, also after a failure."""
    try:
        request.infer()
    finally:
        input_data.fill(0)


class OpenVinoEmbedder:
    """SFace. Not thread-safe: one call at a time."""

    def __init__(self, compiled: CompiledNetworks) -> None:
        self._request = compiled.embedder.create_infer_request()
        self._input = np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8)
        self._request.set_input_tensor(compiled.openvino.ov.Tensor(self._input, shared_memory=True))

    @_failures_of("SFace")
    def describe(self, aligned: Pixels) -> Vector | None:
        """As ``Embedder.describe``. Raises ``ModelError``: the network failed."""
        self._input[0] = aligned
        _infer_and_clear(self._request, self._input)
        return unit_vector(self._request.get_output_tensor().data)


class OpenVinoDetector(Detector):
    """YuNet; on OpenCV for further small input sizes. Not thread-safe: one call at a time."""

    def __init__(self, compiled: CompiledNetworks, *, threads: int) -> None:
        super().__init__(locate(YUNET), threads=threads)
        self._compiled = compiled
        self._requests: dict[tuple[int, int], tuple[Any, NDArray[Any]]] = {}

    @_failures_of("YuNet")
    def infer(self, picture: Pixels) -> NDArray[np.float32]:
        """As ``Detector.infer``. Raises ``ModelError``: the network failed, or cannot be compiled."""
        height, width = (-(-side // STRIDES[-1]) * STRIDES[-1] for side in picture.shape[:2])
        request = self._requests.get((width, height)) or self._request(width, height)
        if request is not None:
            return self._run_request(*request, picture)
        if width * height <= _SIZE_MAX_PX:
            return super().infer(picture)
        self._compiled.release_buffers()
        # For this picture alone. OpenCV needs up to 142 MB for such an input, this network 80 MB.
        compiled = self._compiled.openvino.compile_yunet(width, height, of_bytes=True)
        return self._run_request(*self._new_request(compiled, width, height, np.uint8), picture)

    def _run_request(self, request: Any, padded: NDArray[Any], picture: Pixels) -> NDArray[np.float32]:
        padded[0, : picture.shape[0], : picture.shape[1]] = picture
        _infer_and_clear(request, padded)
        return faces(request.get_output_tensor().data[0], padded.shape[2], padded.shape[1], self.confidence)

    def _request(self, width: int, height: int) -> tuple[Any, NDArray[Any]] | None:
        compiled = self._compiled.detector(width, height)
        if compiled is None:
            return None
        request = self._requests[width, height] = self._new_request(compiled, width, height, np.float32)
        return request

    def _new_request(self, compiled: Any, width: int, height: int, dtype: Any) -> tuple[Any, NDArray[Any]]:
        request, padded = compiled.create_infer_request(), np.zeros((1, height, width, 3), dtype)
        request.set_input_tensor(self._compiled.openvino.ov.Tensor(padded, shared_memory=True))
        return request, padded
