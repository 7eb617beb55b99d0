"""YuNet as an OpenVINO model with one output, and the faces in that output.

The file has twelve outputs: each of three levels has four heads, and each head two small convolutions. The
heads of a level read the same features, so this module joins their weights to one head: the same sums with a
quarter of the runs, which saves 10 to 25 % of the time of the network.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.detector import MAX_FACES, NMS_OVERLAP
from agent.vision.models import YUNET, locate

STRIDES = (8, 16, 32)
_HEADS = ("cls", "obj", "bbox", "kps")
_VALUES_PER_CELL = 16  # of each cell: whether it is a face, whether it is an object, box, five landmarks

_ROUNDING = 0.01  # far above that of the two sigmoids

_Floats = NDArray[np.float32]


def yunet(ov: Any, core: Any, *, of_bytes: bool) -> Any:
    """The model. Input: (1, H, W, 3), B,G,R; to be reshaped. Output: (1, cells of all levels, 16) float32.

    Args:
        ov: the imported library.
        core: its ``Core``.
        of_bytes: the input is uint8, not float32.
    Raises:
        ModelError: weights missing or changed.
    """
    model, op = core.read_model(locate(YUNET)), ov.opset13
    levels = [_level(op, [model.output(f"{head}_{stride}") for head in _HEADS]) for stride in STRIDES]
    joined = ov.Model([op.concat(levels, 1)], model.get_parameters(), "YuNet")
    steps = ov.preprocess.PrePostProcessor(joined)
    steps.input().tensor().set_layout(ov.Layout("NHWC"))
    if of_bytes:
        steps.input().tensor().set_element_type(ov.Type.u8)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    return steps.build()


def _level(op: Any, outputs: list[Any]) -> Any:
    """One head in place of four: (1, cells, 16), before the sigmoid of the first two numbers."""
    heads = [_head(output.get_node()) for output in outputs]
    weights, biases, filters, shifts = (
        np.concatenate([head[part] for head in heads]) for part in range(1, 5)
    )
    mixed = op.convolution(heads[0][0], op.constant(weights), [1, 1], [0, 0], [0, 0], [1, 1])
    mixed = op.add(mixed, op.constant(biases.reshape(1, -1, 1, 1)))
    joined = op.group_convolution(mixed, op.constant(filters), [1, 1], [1, 1], [1, 1], [1, 1])
    joined = op.add(joined, op.constant(shifts.reshape(1, -1, 1, 1)))
    return op.reshape(
        op.transpose(joined, np.array([0, 2, 3, 1])), np.array([1, -1, _VALUES_PER_CELL]), False
    )


def _head(result: Any) -> tuple[Any, _Floats, _Floats, _Floats, _Floats]:
    """What a head reads; weights and biases of its 1 × 1 layer; filters and biases of its 3 × 3 layer."""
    node = result.input_value(0).get_node()
    while node.get_type_name() in ("Sigmoid", "Reshape", "Transpose"):
        node = node.input_value(0).get_node()
    shifts, depthwise = _constant_input(node, 1), node.input_value(0).get_node()
    filters, node = _constant_input(depthwise, 1), depthwise.input_value(0).get_node()
    biases, pointwise = _constant_input(node, 1), node.input_value(0).get_node()
    count = len(biases)
    return (
        pointwise.input_value(0),
        _constant_input(pointwise, 1),
        biases,
        filters.reshape(count, 1, 1, *filters.shape[-2:]),
        shifts,
    )


def _constant_input(node: Any, index: int) -> _Floats:
    """The constant that is an input of a layer, without its reshaping."""
    source = node.input_value(index).get_node()
    while source.get_type_name() == "Reshape":
        source = source.input_value(0).get_node()
    return np.array(source.data, np.float32)


def faces(cells: _Floats, width: int, height: int, confidence: float) -> _Floats:
    """Rows of 15 as from ``FaceDetectorYN.detect``: box, five landmarks, confidence; best first.

    Source: ``FaceDetectorYNImpl::postProcess`` of OpenCV.

    Args:
        cells: (cells of all levels, 16), the output of the network.
        width, height: of its input, px.
    """
    # Each factor of the confidence is at most 1, so none is below its square: few cells are computed in full.
    square = min(max(confidence**2, 1e-6), 1 - 1e-6)
    min_logit = math.log(square / (1 - square)) - _ROUNDING
    candidates = np.flatnonzero((cells[:, 0] > min_logit) & (cells[:, 1] > min_logit))  # without NaN
    values = cells[candidates]
    scores = np.sqrt(1 / ((1 + np.exp(-values[:, 0])) * (1 + np.exp(-values[:, 1]))))
    corners, strides = _corners_and_strides(candidates, width, height)
    centre, size = (values[:, 2:4] + corners) * strides, np.exp(values[:, 4:6]) * strides
    points = (values[:, 6:].reshape(-1, 5, 2) + corners[:, None]) * strides[:, None]
    rows: _Floats = np.hstack([centre - size / 2, size, points.reshape(-1, 10), scores[:, None]])
    rows = rows[scores >= confidence]
    if len(rows) < 2:
        return rows
    boxes = rows[:, :4].astype(np.int32).tolist()
    best = cv2.dnn.NMSBoxes(boxes, rows[:, 14].tolist(), confidence, NMS_OVERLAP, 1.0, MAX_FACES)
    return np.asarray(rows[np.asarray(best, np.intp).reshape(-1)], np.float32)


def _corners_and_strides(cells: NDArray[np.intp], width: int, height: int) -> tuple[_Floats, _Floats]:
    """Column and row of cells in their levels, (N, 2), and the strides of these levels, (N, 1), in pixels."""
    counts = [(width // stride) * (height // stride) for stride in STRIDES]
    ends = np.cumsum(counts)
    level = np.searchsorted(ends, cells, side="right")
    cell_in_level = cells - (ends - counts)[level]
    strides = np.array(STRIDES)[level]
    columns = width // strides
    corners = np.stack([cell_in_level % columns, cell_in_level // columns], 1).astype(np.float32)
    return corners, strides[:, None].astype(np.float32)
