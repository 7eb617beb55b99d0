"""Weights in the file format of PyTorch before version 1.6, read without PyTorch. Nothing is executed.

The file is a series of five pickles (magic number, format version, machine, names with tensors, keys of the
storages), followed by the numbers of each storage. A pickle is a program for a stack machine, and the machine
of Python's ``pickle`` calls any function that the program names. So this module has a machine of its own: it
has only the few instructions that such a file needs, it calls nothing, and it refuses every other instruction
and every other name. Sizes are checked before memory is used.

Source: ``torch.save(..., _use_new_zipfile_serialization=False)``; ``pickletools`` documents the instructions.
"""

import io
import pickletools  # parses only; it executes nothing
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import ModelError
from agent.texts import Text

Tensors = dict[str, NDArray[np.float32]]

MAX_BYTES = 8_000_000  # the official files have 1.9 MB
_MAX_INSTRUCTIONS = 100_000
_MAX_DIMENSIONS = 4
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_NUMBER_BYTES = {"torch FloatStorage": 4, "torch LongStorage": 8}
_DICT, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_NAMES = frozenset({*_NUMBER_BYTES, _DICT, _TENSOR})
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_MARK = object()
_MAX_SHOWN = 100  # characters of a name in an error


@dataclass(frozen=True, slots=True)
class _Name:
    """A function or class that the file names. It is never looked up."""

    text: str


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    size: tuple[int, ...]


def read_tensors(raw: bytes) -> Tensors:
    """The float tensors of a file, by name. Tensors of whole numbers are left out.

    Raises:
        ModelError: ``model_unusable``, the file is larger than 8 MB, has another format, or contains an
        instruction or a name that weights do not need.
    """
    if len(raw) > MAX_BYTES:
        raise wrong_weights("bytes", size=len(raw), most=MAX_BYTES)
    stream = io.BytesIO(raw)
    magic, version, machine, entries, keys = (_Machine(stream).run() for _ in range(5))
    if (magic, version) != (_MAGIC, _VERSION) or not isinstance(machine, dict):
        raise wrong_weights("format")
    if (
        machine.get("little_endian") is not True
        or not isinstance(entries, dict)
        or not isinstance(keys, list)
    ):
        raise wrong_weights("not_named")
    tensors = {
        str(name): tensor for name, tensor in entries.items() if type(name) is str and type(tensor) is _Tensor
    }
    if len(tensors) != len(entries) or not all(type(key) is str for key in keys):
        raise wrong_weights("entry")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(storages[tensor.storage.key] != tensor.storage for tensor in tensors.values()):
        raise wrong_weights("two_sizes")
    numbers = _read_storages(stream, keys, storages)
    return {
        name: numbers[tensor.storage.key][tensor.offset : tensor.offset + prod(tensor.size)].reshape(
            tensor.size
        )
        for name, tensor in tensors.items()
        if tensor.storage.key in numbers
    }


def _read_storages(stream: io.BytesIO, keys: list[str], storages: dict[str, _Storage]) -> Tensors:
    """The numbers of each float storage. The file must end after the last storage."""
    if sorted(keys) != sorted(storages):
        raise wrong_weights("storages")
    tensors: Tensors = {}
    for key in keys:
        storage = storages[key]
        size = storage.count * _NUMBER_BYTES[storage.kind]
        count, body = stream.read(8), stream.read(size)
        if len(body) != size or int.from_bytes(count, "little") != storage.count:
            raise wrong_weights("cut")
        if storage.kind == "torch FloatStorage":
            tensors[key] = np.frombuffer(body, "<f4").astype(np.float32)
    if stream.read(1):
        raise wrong_weights("more_bytes")
    return tensors


class _Machine:
    """Runs one pickle. Values are numbers, texts, tuples, lists, dicts and the three classes above."""

    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value of the pickle. Raises ``ModelError``."""
        try:
            for number, (code, argument, _) in enumerate(pickletools.genops(self._stream)):
                if number >= _MAX_INSTRUCTIONS:
                    raise wrong_weights("instructions")
                if code.name == "STOP":
                    return self._stack.pop()
                self._step(code.name, argument)
        except (ValueError, LookupError, TypeError, OverflowError, DeprecationWarning) as error:
            raise wrong_weights("damaged", kind=type(error).__name__) from error
        raise wrong_weights("no_end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "PROTO":
                pass
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE" | "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(_CONSTANTS[name]())
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                stack.append(argument)
            case "MARK":
                stack.append(_MARK)
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "APPENDS":
                items = self._pop_to_mark()
                self._top_of_type(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._pop_to_mark() if name == "SETITEMS" else [stack.pop() for _ in range(2)][::-1]
                self._set_items(items[::2], items[1::2])
            case "BUILD":  # version numbers of the layers
                stack.pop()
                self._top_of_type(dict)
            case "GLOBAL" if argument in _NAMES:
                stack.append(_Name(argument))
            case "GLOBAL" | "STACK_GLOBAL" | "INST":
                raise wrong_weights("runs", name=str(argument or name)[:_MAX_SHOWN])
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_rebuilt(stack.pop(), arguments))
            case _:
                raise wrong_weights("instruction", name=name)

    def _set_items(self, names: list[Any], values: list[Any]) -> None:
        """Add entries to the dict on top. Only texts are names: the hash of a deep tuple ends the process."""
        if not all(type(name) is str for name in names):
            raise wrong_weights("no_name")
        self._top_of_type(dict).update(zip(names, values, strict=True))

    def _pop_to_mark(self) -> list[Any]:
        start = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        items = self._stack[start + 1 :]
        del self._stack[start:]
        return items

    def _top_of_type(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise wrong_weights("other_kind")
        return self._stack[-1]


def _storage(value: Any) -> _Storage:
    match value:
        case ("storage", _Name(kind), str(key), str(), int(count), None) if (
            kind in _NUMBER_BYTES and 0 < count <= MAX_BYTES
        ):
            return _Storage(key, kind, count)
    raise wrong_weights("storage_form")


def _rebuilt(name: Any, arguments: Any) -> Any:
    """The value of the two calls that are allowed. Nothing is called: both are known."""
    match name, arguments:
        case _Name("collections OrderedDict"), ():
            return {}
        case _Name("torch._utils _rebuild_tensor_v2"), (
            _Storage() as storage,
            int(offset),
            tuple(size),
            tuple(stride),
            *_,
        ) if _is_plain(storage, offset, size, stride):
            return _Tensor(storage, offset, size)
    raise wrong_weights("tensor_form")


def _is_plain(storage: _Storage, offset: int, size: tuple[Any, ...], stride: tuple[Any, ...]) -> bool:
    """Whether the tensor is a contiguous part of its storage."""
    if len(size) > _MAX_DIMENSIONS or not all(type(length) is int and length > 0 for length in size):
        return False
    contiguous = tuple(prod(size[axis + 1 :]) for axis in range(len(size)))
    return stride == contiguous and offset >= 0 and offset + prod(size) <= storage.count


def wrong_weights(fault: str, **facts: object) -> ModelError:
    """The error for a file of weights. ``fault``: a key below ``weights.``."""
    why = Text("detail.liveness_weights", reason=Text(f"weights.{fault}", **facts))
    return ModelError(why, fix=Text("fix.liveness_weights_wrong"))
