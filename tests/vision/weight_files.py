"""Weights of a small MiniFASNet, its forward pass in numpy, and its file in the old format of PyTorch."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Tensors = dict[str, Array]

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
MACHINE = {
    "protocol_version": VERSION,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}
STAGES = {"3": ("conv_23", 2), "4": ("conv_34", 1), "5": ("conv_45", 2)}  # the block before, and the blocks


def weights(seed: int = 1, *, squeeze: bool = False) -> Tensors:
    """Random weights with the official names and small widths."""
    dice, made = np.random.default_rng(seed), Tensors()

    def conv(name: str, out: int, inner: int, kernel: int) -> None:
        made[f"module.{name}.weight"] = dice.normal(0, 0.4, (out, inner, kernel, kernel)).astype(np.float32)

    def norm(name: str, width: int) -> None:
        for part, low, high in (("weight", 0.5, 1.5), ("bias", -0.3, 0.3)):
            made[f"module.{name}.{part}"] = dice.uniform(low, high, width).astype(np.float32)
        made[f"module.{name}.running_mean"] = dice.normal(0, 0.3, width).astype(np.float32)
        made[f"module.{name}.running_var"] = dice.uniform(0.5, 2.0, width).astype(np.float32)
        made[f"module.{name}.num_batches_tracked"] = np.array(7, np.int64)

    def block(name: str, out: int, inner: int, kernel: int, *, prelu: bool = True) -> None:
        conv(f"{name}.conv", out, inner, kernel)
        norm(f"{name}.bn", out)
        if prelu:
            made[f"module.{name}.prelu.weight"] = dice.uniform(0.1, 0.5, out).astype(np.float32)

    def deep(name: str, out: int, inner: int, width: int) -> None:
        block(f"{name}.conv", width, inner, 1)
        block(f"{name}.conv_dw", width, 1, 3)
        block(f"{name}.project", out, width, 1, prelu=False)

    block("conv1", 6, 3, 3)
    block("conv2_dw", 6, 1, 3)
    width = 6
    for stage, (down, blocks) in STAGES.items():
        deep(down, 8, width, 10)
        width = 8
        for number in range(blocks):
            deep(f"conv_{stage}.model.{number}", width, width, 5 + number)
        if squeeze:
            name = f"conv_{stage}.model.{blocks - 1}.se_module"
            conv(f"{name}.fc1", 2, width, 1)
            norm(f"{name}.bn1", 2)
            conv(f"{name}.fc2", width, 2, 1)
            norm(f"{name}.bn2", width)
    block("conv_6_sep", 12, width, 1)
    block("conv_6_dw", 12, 1, 5, prelu=False)
    made["module.linear.weight"] = dice.normal(0, 0.4, (7, 12)).astype(np.float32)
    norm("bn", 7)
    made["module.prob.weight"] = dice.normal(0, 0.4, (3, 7)).astype(np.float32)
    return made


def scores(made: Tensors, bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The forward pass of the small network, written down step by step; (80, 80, 3) to (3,)."""

    def part(name: str) -> NDArray[np.float64]:
        return made[f"module.{name}"].astype(np.float64)

    def conv(x: NDArray[np.float64], name: str, stride: int = 1, pad: int = 0) -> NDArray[np.float64]:
        kernel = part(f"{name}.weight")
        size = kernel.shape[-1]
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]
        if kernel.shape[1] == 1:
            return np.asarray(np.einsum("chwij,cij->chw", windows, kernel[:, 0]))
        return np.asarray(np.einsum("chwij,ocij->ohw", windows, kernel))

    def norm(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        mean, var = part(f"{name}.running_mean"), part(f"{name}.running_var")
        gain, bias = part(f"{name}.weight"), part(f"{name}.bias")
        tail = (1,) * (x.ndim - 1)
        scaled = (x - mean.reshape(-1, *tail)) / np.sqrt(var.reshape(-1, *tail) + 1e-5)
        return scaled * gain.reshape(-1, *tail) + bias.reshape(-1, *tail)

    def block(x: NDArray[np.float64], name: str, stride: int = 1, pad: int = 0) -> NDArray[np.float64]:
        x = norm(conv(x, f"{name}.conv", stride, pad), f"{name}.bn")
        if f"module.{name}.prelu.weight" not in made:
            return x
        return np.where(x > 0, x, x * part(f"{name}.prelu.weight")[:, None, None])

    def deep(x: NDArray[np.float64], name: str, stride: int = 1) -> NDArray[np.float64]:
        x = block(block(block(x, f"{name}.conv"), f"{name}.conv_dw", stride, 1), f"{name}.project")
        if f"module.{name}.se_module.fc1.weight" not in made:
            return x
        pooled = x.mean((1, 2), keepdims=True)
        inner = np.maximum(norm(conv(pooled, f"{name}.se_module.fc1"), f"{name}.se_module.bn1"), 0)
        gate = norm(conv(inner, f"{name}.se_module.fc2"), f"{name}.se_module.bn2")
        return np.asarray(x / (1 + np.exp(-gate)))

    x = block(block(bgr.transpose(2, 0, 1).astype(np.float64), "conv1", 2, 1), "conv2_dw", 1, 1)
    for stage, (down, blocks) in STAGES.items():
        x = deep(x, down, 2)
        for number in range(blocks):
            x = x + deep(x, f"conv_{stage}.model.{number}")
    x = block(block(x, "conv_6_sep"), "conv_6_dw")
    vector = norm(part("linear.weight") @ x.ravel(), "bn")
    return np.asarray(part("prob.weight") @ vector, np.float64)


@dataclass
class Storage:
    key: str
    array: NDArray[Any]


@dataclass
class Tensor:
    array: NDArray[Any]
    storage: Storage
    size: tuple[int, ...] | None = None


def rebuild(*_: object) -> None:
    """Stands for PyTorch's function of this place; only its name is written."""


class FloatStorage: ...


class LongStorage: ...


class Pickler(pickle.Pickler):
    """Writes tensors as PyTorch does: a call by name, and a storage by its key."""

    def persistent_id(self, value: object) -> object:
        if not isinstance(value, Storage):
            return None
        kind = LongStorage if value.array.dtype == np.int64 else FloatStorage
        return "storage", kind, value.key, "cuda:0", value.array.size, None

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented
        size = value.size or value.array.shape
        stride = tuple(int(np.prod(size[axis + 1 :])) for axis in range(len(size)))
        return rebuild, (value.storage, 0, size, stride, False, OrderedDict())


@contextmanager
def names_of_torch() -> Iterator[None]:
    """Modules with the names that the pickler writes."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for place, name, value in (
        (utils, "_rebuild_tensor_v2", rebuild),
        (torch, "FloatStorage", FloatStorage),
        (torch, "LongStorage", LongStorage),
    ):
        value.__module__, value.__qualname__, value.__name__ = place.__name__, name, name
        setattr(place, name, value)
    with patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        yield


def dumped(value: object) -> bytes:
    stream = io.BytesIO()
    with names_of_torch():
        Pickler(stream, 2).dump(value)
    return stream.getvalue()


def torch_file(made: Tensors, **sizes: tuple[int, ...]) -> bytes:
    """The file of these weights. ``sizes``: false sizes of tensors, with ``__`` for a point."""
    named: OrderedDict[str, Tensor] = OrderedDict()
    false = {name.replace("__", "."): size for name, size in sizes.items()}
    for number, (name, array) in enumerate(made.items()):
        named[name] = Tensor(array, Storage(str(1_000 + number), array), false.get(name))
    named._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    storages = [each.storage for each in named.values()]
    head = b"".join(
        dumped(each) for each in (MAGIC, VERSION, MACHINE, named, [each.key for each in storages])
    )
    return head + b"".join(
        each.array.size.to_bytes(8, "little") + np.ascontiguousarray(each.array).tobytes()
        for each in storages
    )
