"""The network MiniFASNet as an ONNX graph, built from its weights.

The names of the weights show the blocks and their order, the shapes of the weights show the widths. Only the
strides and the paddings are not in the file: a stage begins with stride 2, and a kernel of 3 has a padding
of 1. Kinds of blocks: convolution with batch norm and PReLU; a depth-wise block (expand, depth-wise, project)
with a residual inside a stage; squeeze-excitation at the end of a stage, in the variant SE.
"""

import re

import numpy as np
from numpy.typing import NDArray

from agent.vision.passive.onnx_graph import Graph
from agent.vision.passive.torch_file import Tensors, wrong_weights

INPUT_PX, CLASSES = 80, 3
_PREFIX = "module."
_STEM, _STAGES, _HEAD = ("conv1", "conv2_dw"), ("3", "4", "5"), ("conv_6_sep", "conv_6_dw")
_DOWN = {"3": "conv_23", "4": "conv_34", "5": "conv_45"}
_MAX_BLOCKS = 16


class _Builder:
    """Takes each weight once. A missing, unused or misshaped weight raises ``ModelError``."""

    def __init__(self, tensors: Tensors) -> None:
        self._unused = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
        self.graph = Graph()

    def take(self, name: str, *shape: int) -> NDArray[np.float32]:
        """The weight of this name. ``shape``: its sizes; 0 for a size that the file may choose."""
        weight = self._unused.pop(name, None)
        if weight is None:
            raise wrong_weights("none", name=name)
        if len(weight.shape) != len(shape) or any(
            want not in (0, size) for want, size in zip(shape, weight.shape, strict=True)
        ):
            raise wrong_weights("shape", name=name, shape=weight.shape)
        if not np.isfinite(weight).all():
            raise wrong_weights("not_finite", name=name)
        return weight

    def conv(
        self, value: str, name: str, channels: int, *, stride: int = 1, kernel: int = 1
    ) -> tuple[str, int]:
        """A convolution without bias over ``channels``. Returns its value and its number of channels."""
        is_deep = self._unused.get(f"{name}.weight", np.empty(0)).shape[1:2] == (1,) and channels != 1
        weight = self.take(
            f"{name}.weight", channels if is_deep else 0, 1 if is_deep else channels, kernel, kernel
        )
        pad = 1 if kernel == 3 else 0
        value = self.graph.add(
            "Conv",
            [value],
            [weight],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=channels if is_deep else 1,
        )
        return value, weight.shape[0]

    def norm(self, value: str, name: str, channels: int) -> str:
        """Batch norm with the epsilon 1e-5, the default of ONNX and of PyTorch."""
        parts = ("weight", "bias", "running_mean", "running_var")
        weights = [self.take(f"{name}.{part}", channels) for part in parts]
        return self.graph.add("BatchNormalization", [value], weights)

    def block(
        self, value: str, name: str, channels: int, *, stride: int = 1, kernel: int = 1
    ) -> tuple[str, int]:
        """Convolution, batch norm, and PReLU if the file has its weights."""
        value, channels = self.conv(value, f"{name}.conv", channels, stride=stride, kernel=kernel)
        value = self.norm(value, f"{name}.bn", channels)
        if f"{name}.prelu.weight" in self._unused:
            slope = self.take(f"{name}.prelu.weight", channels)
            value = self.graph.add("PRelu", [value], [slope.reshape(channels, 1, 1)])
        return value, channels

    def deep(self, value: str, name: str, channels: int, *, stride: int = 1) -> tuple[str, int]:
        """Expand, depth-wise convolution, project; then squeeze-excitation if the file has its weights."""
        inner, width = self.block(value, f"{name}.conv", channels)
        inner, width = self.block(inner, f"{name}.conv_dw", width, stride=stride, kernel=3)
        inner, width = self.block(inner, f"{name}.project", width)
        if f"{name}.se_module.fc1.weight" in self._unused:
            inner = self.squeeze(inner, f"{name}.se_module", width)
        return inner, width

    def squeeze(self, value: str, name: str, channels: int) -> str:
        add = self.graph.add
        inner, width = self.conv(add("GlobalAveragePool", [value]), f"{name}.fc1", channels)
        inner = add("Relu", [self.norm(inner, f"{name}.bn1", width)])
        inner, width = self.conv(inner, f"{name}.fc2", width)
        return add("Mul", [value, add("Sigmoid", [self.norm(inner, f"{name}.bn2", width)])])

    def blocks(self, stage: str) -> int:
        """The number of blocks of a stage."""
        matches = [re.match(rf"conv_{stage}\.model\.(\d{{1,2}})\.", name) for name in self._unused]
        count = 1 + max((int(match[1]) for match in matches if match), default=-1)
        if not 0 < count <= _MAX_BLOCKS:
            raise wrong_weights("blocks", stage=stage, count=count)
        return count

    def linear(self, value: str, name: str, channels: int, outputs: int) -> tuple[str, int]:
        """A matrix, as a convolution over one pixel."""
        self._unused[f"{name}.weight"] = self.take(f"{name}.weight", outputs, channels)[:, :, None, None]
        return self.conv(value, name, channels)

    def finish(self) -> None:
        if self._unused:
            raise wrong_weights("unknown", name=min(self._unused))


def to_onnx(tensors: Tensors) -> bytes:
    """The network as an ONNX file: input (1, 3, 80, 80) float32, output (1, 3) scores before the softmax.

    Raises:
        ModelError: ``model_unusable``, a weight is missing, unknown, misshaped or not finite.
    """
    build = _Builder(tensors)
    value, width = build.block("x", _STEM[0], 3, stride=2, kernel=3)
    value, width = build.block(value, _STEM[1], width, kernel=3)
    for stage in _STAGES:
        value, width = build.deep(value, _DOWN[stage], width, stride=2)
        for number in range(build.blocks(stage)):
            inner, inner_width = build.deep(value, f"conv_{stage}.model.{number}", width)
            if inner_width != width:
                raise wrong_weights("block_width", stage=stage, number=number)
            value = build.graph.add("Add", [value, inner])
    value, width = build.block(value, _HEAD[0], width)
    value, width = build.block(value, _HEAD[1], width, kernel=INPUT_PX // 16)
    value, width = build.linear(value, "linear", width, 0)
    value, width = build.linear(build.norm(value, "bn", width), "prob", width, CLASSES)
    build.finish()
    output = build.graph.add("Flatten", [value])
    return build.graph.to_bytes("x", (1, 3, INPUT_PX, INPUT_PX), output, CLASSES)
