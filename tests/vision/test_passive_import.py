"""Import of weights: only an official file is accepted, and nothing in a file is executed."""

from __future__ import annotations

import hashlib
import pickle
import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.errors import ModelError
from agent.vision.passive.importer import missing, read_weights, store
from agent.vision.passive.minifasnet import to_onnx
from agent.vision.passive.official import OFFICIAL, Weights, pattern
from agent.vision.passive.passive_liveness import Network
from agent.vision.passive.torch_file import MAX_BYTES, read_tensors
from tests.texts import en, zh
from tests.vision.weight_files import MACHINE, MAGIC, VERSION, Tensors, dumped, scores, torch_file, weights

FLOATS = np.float32


@cache
def official(seed: int = 1, *, squeeze: bool = False, scale: float = 2.7) -> tuple[bytes, Weights]:
    """A file, and the row that makes it official. The scores are those of the forward pass in numpy."""
    made = weights(seed, squeeze=squeeze)
    raw, onnx = torch_file(made), to_onnx(read_tensors(torch_file(made)))
    blue, green, red = (float(each) for each in scores(made, pattern()))
    digest = hashlib.sha256(raw).hexdigest(), hashlib.sha256(onnx).hexdigest()
    row = Weights(f"{seed}.pth", digest[0], scale, f"small-{scale}.onnx", digest[1], (blue, green, red))
    return raw, row


def imported(folder: Path, raw: bytes, row: Weights) -> bytes:
    (folder / "weights.pth").write_bytes(raw)
    return read_weights(folder / "weights.pth", (row,))[1]


def test_read_tensors_returns_the_float_weights() -> None:
    made = weights(3, squeeze=True)
    found = read_tensors(torch_file(made))
    assert set(found) == {name for name, array in made.items() if array.dtype == FLOATS}
    assert all(np.array_equal(found[name], made[name]) for name in found)


@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_network_gives_the_scores_of_the_forward_pass(seed: int, squeeze: bool) -> None:
    made = weights(seed, squeeze=squeeze)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(to_onnx(read_tensors(torch_file(made))), np.uint8))
    picture = np.random.default_rng(seed).integers(0, 256, (80, 80, 3), np.uint8)
    net.setInput(cv2.dnn.blobFromImage(picture))
    assert np.allclose(net.forward().ravel(), scores(made, picture), rtol=1e-3, atol=1e-3)


def test_import_writes_the_network_for_its_owner_only(tmp_path: Path) -> None:
    raw, row = official()
    onnx = imported(tmp_path, raw, row)
    assert missing(tmp_path, (row,)) == (row.file,)
    target = store(row, onnx, tmp_path)
    assert target.read_bytes() == onnx and missing(tmp_path, (row,)) == ()
    assert (target.stat().st_mode & 0o777, target.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert store(row, onnx, tmp_path) == target, "a second import replaces the file"
    assert [each.name for each in target.parent.iterdir()] == [target.name]


def test_import_of_another_sha256_is_refused_by_name(tmp_path: Path) -> None:
    raw, row = official()
    with pytest.raises(ModelError, match="is none of") as caught:
        imported(tmp_path, raw + b"x", row)
    assert caught.value.code == "model_checksum"
    assert "official file" in en(caught.value.fix) and "官方" in zh(caught.value.fix)


def test_import_of_a_missing_or_large_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(MAX_BYTES + 1))
    for name in ("large", "not there"):
        with pytest.raises(ModelError) as caught:
            read_weights(tmp_path / name)
        assert caught.value.code == "model_missing"


@pytest.mark.parametrize(
    "change", [{"scores": (0.0, 0.0, 0.0)}, {"scores": (float("nan"),) * 3}], ids=["other", "not a number"]
)
def test_import_with_other_scores_than_recorded_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    raw, row = official()
    with pytest.raises(ModelError, match="recorded scores"):
        imported(tmp_path, raw, replace(row, **change))  # type: ignore[arg-type]


def test_network_with_another_sha256_is_refused() -> None:
    raw, row = official()
    onnx = to_onnx(read_tensors(raw))
    for wrong in (onnx[:-1], onnx + b"\0", b""):
        with pytest.raises(ModelError) as caught:
            Network(wrong, row)
        assert caught.value.code == "model_checksum"


def test_rows_of_the_official_files_are_complete() -> None:
    assert [each.scale for each in OFFICIAL] == [2.7, 4.0]
    for each in OFFICIAL:
        assert len(each.sha256) == len(each.onnx_sha256) == 64
        assert abs(np.ptp(each.scores)) > 1.0, "the scores of the pattern differ"


# --- weights of another form ------------------------------------------------------------------------------


def without(made: Tensors, name: str) -> Tensors:
    return {each: array for each, array in made.items() if each != name}


def changed(name: str, array: np.ndarray) -> Tensors:
    return weights() | {name: array.astype(FLOATS)}


@pytest.mark.parametrize(
    ("made", "named"),
    [
        pytest.param(without(weights(), "module.conv1.conv.weight"), "no weight conv1", id="missing"),
        pytest.param(
            without(weights(), "module.bn.running_var"), "no weight bn.running_var", id="no variance"
        ),
        pytest.param(changed("module.extra.weight", np.ones(3)), "unknown weight extra", id="unknown"),
        pytest.param(changed("module.prob.weight", np.ones((4, 7))), "weight prob.weight", id="four classes"),
        pytest.param(
            changed("module.conv1.conv.weight", np.ones((6, 3, 5, 5))), "conv1", id="a wider kernel"
        ),
        pytest.param(changed("module.conv1.bn.bias", np.ones(5)), "conv1.bn.bias", id="a shorter bias"),
        pytest.param(
            changed("module.conv1.prelu.weight", np.ones((6, 1))), "conv1.prelu", id="a dimension more"
        ),
        pytest.param(changed("module.bn.bias", np.full(7, np.nan)), "not finite", id="not a number"),
        pytest.param(changed("module.conv_3.model.99.x", np.ones(1)), "stage conv_3", id="a hundred blocks"),
        pytest.param({}, "no weight", id="nothing"),
    ],
)
def test_weights_of_another_form_are_refused_by_name(made: Tensors, named: str) -> None:
    with pytest.raises(ModelError, match=named) as caught:
        to_onnx(read_tensors(torch_file(made)))
    assert caught.value.code == "model_unusable"


# --- files that are no weights ----------------------------------------------------------------------------


class Hostile:
    """Unpickled by Python, this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


def head(body: bytes) -> bytes:
    return b"".join(map(dumped, (MAGIC, VERSION, MACHINE))) + body + dumped([])


def hostile_files(marker: Path) -> dict[str, bytes]:
    call = f"cbuiltins\nopen\n(X{chr(len(str(marker)))}\0\0\0{marker}X\1\0\0\0wtR.".encode()
    files = {
        f"a call in protocol {protocol}": head(pickle.dumps({"x": Hostile(marker)}, protocol))
        for protocol in range(6)
    }
    return files | {
        "a call in the first pickle": pickle.dumps(Hostile(marker), 2),
        "a call as a call of an allowed name": head(b"\x80\2ccollections\nOrderedDict\n]\x85R."),
        "a system call": head(b"\x80\2cposix\nsystem\nX\4\0\0\0true\x85R."),
        "a name below an allowed name": head(b"\x80\2ccollections\nOrderedDict.fromkeys\n)R."),
        "an instance": head(b"(iposix\nsystem\n."),
        "an object": head(b"(oX\4\0\0\0true."),
        "a new object": head(b"\x80\2ccollections\nOrderedDict\n)\x81."),
        "an extension": head(b"\x80\2\x82\1."),
        "a state for a name": head(b"\x80\2ctorch._utils\n_rebuild_tensor_v2\n}b."),
        "a call of a value": head(b"\x80\2X\1\0\0\0x)R."),
        "a storage of another form": head(b"\x80\2X\1\0\0\0xQ."),
        "a place in the memo beyond the memory": head(b"\x80\2}r\xff\xff\xff\x7f0."),
        "a text longer than the file": head(b"\x80\2X\xff\xff\xff\x7fabc"),
        "a list in itself": head(b"\x80\2]q\0(h\0e."),
        "no value": head(b"\x80\2."),
        "no mark": head(b"\x80\2t."),
        "only marks": head(b"\x80\2" + b"(" * 1_000 + b"."),
        "deep": head(b"\x80\2" + b"]" + b"\x85" * 50_000 + b"."),
        "a deep tuple as a name": head(b"\x80\2})" + b"\x85" * 99_000 + b"Ns."),
        "many instructions": head(b"\x80\2" + b"N" * 200_000 + b"."),
        "the call, plain": call,
        "empty": b"",
        "a zip": b"PK\3\4" + bytes(60),
        "text": b"weights",
    }


@pytest.mark.parametrize("name", sorted(hostile_files(Path("marker"))))
def test_file_that_is_no_weights_is_refused_and_runs_nothing(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(ModelError) as caught:
        read_tensors(hostile_files(marker)[name])
    assert caught.value.code == "model_unusable" and caught.value.fix
    assert not marker.exists()
    assert len(str(caught.value)) < 300


def test_name_that_a_file_wants_to_run_is_in_the_error() -> None:
    with pytest.raises(ModelError, match="would run 'posix system'"):
        read_tensors(hostile_files(Path("x"))["a system call"])


def test_hostile_file_would_run_in_pythons_unpickler(tmp_path: Path) -> None:
    """The control: without it, the tests above would prove nothing."""
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(Hostile(marker), 2)).close()
    assert marker.exists()


def test_file_that_is_cut_or_damaged_is_refused_or_has_other_numbers() -> None:
    raw, dice = torch_file(weights()), random.Random(1)
    whole = read_tensors(raw)
    for length in [*range(0, 300, 31), *(dice.randrange(len(raw)) for _ in range(20))]:
        with pytest.raises(ModelError):
            read_tensors(raw[:length])
    with pytest.raises(ModelError, match="after the last storage"):
        read_tensors(raw + b"x")
    for _ in range(60):
        place = dice.randrange(dice.choice((200, len(raw))))
        damaged = bytearray(raw)
        damaged[place] ^= 1 << dice.randrange(8)
        try:
            found = read_tensors(bytes(damaged))
        except ModelError:
            continue
        assert all(array.dtype == FLOATS for array in found.values())
        assert sum(array.size for array in found.values()) <= sum(array.size for array in whole.values()) + 1


@pytest.mark.parametrize("size", [(6, 3, 3, 4), (2**40, 2**40), (1,) * 5, (-6, -27)], ids=str)
def test_tensor_larger_than_its_storage_is_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(ModelError):
        read_tensors(torch_file(weights(), module__conv1__conv__weight=size))
