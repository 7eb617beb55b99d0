"""Import of an official weight file: check, read, build, test, write. Nothing in the file is executed."""

import hashlib
from pathlib import Path

from agent.errors import ModelError, failure_at
from agent.safe_open import read_plain
from agent.safe_write import write_whole
from agent.texts import Text
from agent.vision.passive.minifasnet import to_onnx
from agent.vision.passive.official import FOLDER, OFFICIAL, Weights
from agent.vision.passive.passive_liveness import Network
from agent.vision.passive.torch_file import MAX_BYTES, read_tensors

_FIX = Text("fix.liveness_weights_wrong")


def read_weights(path: Path, official: tuple[Weights, ...] = OFFICIAL) -> tuple[Weights, bytes]:
    """The official file that ``path`` is, and its network as ONNX, tested against the recorded scores.

    Raises:
        ModelError: ``model_missing`` (not readable, or too large), ``model_checksum`` (none of the official
            files) or ``model_unusable``.
    """
    try:
        raw = read_plain(path, MAX_BYTES, links=True)
    except OSError as error:
        raise ModelError(failure_at(path, error), code="model_missing", fix=_FIX) from error
    sha256 = hashlib.sha256(raw).hexdigest()
    weights = next((candidate for candidate in official if candidate.sha256 == sha256), None)
    if weights is None:
        why = Text(
            "detail.weights_unknown",
            path=path,
            found=sha256,
            known=", ".join(candidate.file for candidate in official),
        )
        raise ModelError(why, code="model_checksum", fix=_FIX)
    onnx = to_onnx(read_tensors(raw))
    Network(onnx, weights)
    return weights, onnx


def store(weights: Weights, onnx: bytes, directory: Path) -> Path:
    """Write the network below the state directory, readable for its owner only. Raises ``OSError``."""
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / weights.onnx_file
    write_whole(target, onnx)
    return target


def missing(directory: Path, official: tuple[Weights, ...] = OFFICIAL) -> tuple[str, ...]:
    """The official files that are not imported yet."""
    return tuple(
        weights.file for weights in official if not (directory / FOLDER / weights.onnx_file).exists()
    )
