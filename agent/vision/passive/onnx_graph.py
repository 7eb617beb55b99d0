"""A small writer of ONNX files: nodes with float weights, one input, one output. Needs no library.

An ONNX file is a protocol buffer. Each field is a number with a wire type, followed by a number or by bytes
with their length. The same graph always gives the same bytes, so the file can be checked by its sha256.

Source: onnx.proto3 of the ONNX project (field numbers), IR version 8, operator set 13.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_IR_VERSION, _OPERATOR_SET = 8, 13
_FLOAT = 1  # TensorProto.DataType
_ATTRIBUTE_INT, _ATTRIBUTE_INTS = 2, 7  # AttributeProto.AttributeType


class Graph:
    """Collects nodes in the order of their execution. Names of values must be unique."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []
        self._count = 0

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        weights: Sequence[NDArray[np.float32]] = (),
        **attributes: int | Sequence[int],
    ) -> str:
        """Add a node whose inputs are values, then weights. Returns the name of its output."""
        self._count += 1
        output, names = f"v{self._count}", list(inputs)
        for number, weight in enumerate(weights):
            names.append(f"w{self._count}.{number}")
            self._weights.append(_tensor(names[-1], weight))
        node = b"".join(_field(1, name) for name in names) + _field(2, output) + _field(4, operator)
        node += b"".join(_field(5, _attribute(name, value)) for name, value in attributes.items())
        self._nodes.append(node)
        return output

    def to_bytes(self, input_name: str, input_shape: Sequence[int], output: str, classes: int) -> bytes:
        """The ONNX file."""
        graph = b"".join(_field(1, node) for node in self._nodes) + _field(2, "graph")
        graph += b"".join(_field(5, weight) for weight in self._weights)
        graph += _field(11, _value(input_name, input_shape)) + _field(12, _value(output, (1, classes)))
        return _field(1, _IR_VERSION) + _field(7, graph) + _field(8, _field(1, "") + _field(2, _OPERATOR_SET))


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _field(1, name) + _field(3, value) + _field(20, _ATTRIBUTE_INT)
    return _field(1, name) + b"".join(_field(8, item) for item in value) + _field(20, _ATTRIBUTE_INTS)


def _tensor(name: str, array: NDArray[np.float32]) -> bytes:
    sizes = b"".join(_field(1, size) for size in array.shape)
    return sizes + _field(2, _FLOAT) + _field(8, name) + _field(9, array.astype("<f4").tobytes())


def _value(name: str, shape: Sequence[int]) -> bytes:
    sizes = b"".join(_field(1, _field(1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, sizes)))


def _field(number: int, value: Any) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def _varint(value: int) -> bytes:
    """A whole number, not negative, in groups of seven bits."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
