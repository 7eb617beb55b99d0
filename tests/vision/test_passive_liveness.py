"""The passive model at run time: both networks must accept the shot, and every fault refuses the shot."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.config import Config, LivenessConfig, VisionConfig
from agent.core.model import Box, Detection, Frame, Shot
from agent.core.policy import PolicyLimits
from agent.errors import LivenessError, ModelError
from agent.root.doctor import inputs_from_config
from agent.root.liveness import liveness_checks, make_liveness_models
from agent.vision.face_analyzer import LocalFaceAnalyzer
from agent.vision.passive.importer import store
from agent.vision.passive.minifasnet import to_onnx
from agent.vision.passive.official import FOLDER, Weights
from agent.vision.passive.passive_liveness import PassiveLiveness
from agent.vision.passive.torch_file import read_tensors
from tests.core.builders import FACE, even
from tests.texts import en
from tests.vision.test_passive_import import official

PIXELS = np.random.default_rng(4).integers(0, 256, (720, 1280, 3), np.uint8)


def installed(folder: Path) -> tuple[Weights, ...]:
    rows = []
    for seed, scale, squeeze in ((1, 2.7, False), (2, 4.0, True)):
        raw, row = official(seed, squeeze=squeeze, scale=scale)
        store(row, to_onnx(read_tensors(raw)), folder)
        rows.append(row)
    return tuple(rows)


def softmax(*scores: float) -> np.ndarray:
    weights = np.exp(np.array(scores))
    return np.asarray(weights / weights.sum())


@pytest.mark.parametrize(
    ("one", "other", "threshold", "live"),
    [
        pytest.param((0, 9, 0), (0, 9, 0), 0.5, True, id="both live"),
        pytest.param((0, 9, 0), (9, 0, 0), 0.5, False, id="one refuses clearly"),
        pytest.param((0, 9, 0), (0, 1, 0), 0.5, True, id="one clear, one weak"),
        pytest.param((0, 9, 0), (0, 1, 0), 0.9, False, id="not enough for a higher limit"),
        pytest.param((9, 0, 0), (0, 0, 9), 0.5, False, id="both refuse"),
        pytest.param((0, 9, 0), None, 0.5, False, id="one without an answer"),
        pytest.param(None, None, 0.5, False, id="both without an answer"),
    ],
)
def test_is_live_needs_the_mean_of_both_networks(
    tmp_path: Path,
    one: tuple[float, ...] | None,
    other: tuple[float, ...] | None,
    threshold: float,
    live: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = PassiveLiveness(tmp_path, threshold, installed(tmp_path))
    for network, scores in zip(model._networks, (one, other), strict=True):
        found = None if scores is None else softmax(*scores)
        monkeypatch.setattr(network, "softmax", lambda *_, found=found: found)
    assert model.is_live(PIXELS, FACE) is live


@pytest.mark.parametrize("bad", [(float("nan"), 9.0, 0.0), (float("inf"), 0.0, 0.0), (9.0, 0.0), ()], ids=str)
def test_scores_that_are_not_three_numbers_are_not_live(
    tmp_path: Path, bad: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PassiveLiveness(tmp_path, 0.5, installed(tmp_path))
    for network in model._networks:
        monkeypatch.setattr(network, "_run", lambda _bgr: np.array(bad))
        assert network.softmax(PIXELS, FACE) is None
    assert not model.is_live(PIXELS, FACE)


def test_each_network_gets_its_own_square(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A square of 2.7 and of 4.0 face boxes, shifted into the frame and never squashed."""
    model, seen = PassiveLiveness(tmp_path, 0.5, installed(tmp_path)), list[np.ndarray]()
    frame = np.zeros((720, 1280, 3), np.uint8)
    frame[..., 0], frame[..., 1] = np.arange(1280) // 8, np.arange(720)[:, None] // 8

    def run(bgr: np.ndarray) -> np.ndarray:
        seen.append(bgr)
        return np.zeros(3)

    for network in model._networks:
        monkeypatch.setattr(network, "_run", run)
    model.is_live(frame, Detection(Box(600, 300, 100, 120), FACE.landmarks, 0.9))
    for picture, scale in zip(seen, (2.7, 4.0), strict=True):
        assert picture.shape == (80, 80, 3)
        wide, high = (int(np.ptp(picture[..., channel])) * 8 for channel in (0, 1))
        assert abs(wide - scale * 120) < 24 and abs(high - scale * 120) < 24


def test_face_outside_the_frame_is_not_live(tmp_path: Path) -> None:
    outside = Detection(Box(5_000, 0, 100, 100), FACE.landmarks, 0.9)
    assert PassiveLiveness(tmp_path, 0.5, installed(tmp_path)).score(PIXELS, outside) is None


@pytest.mark.parametrize(
    ("damage", "code"),
    [("missing", "model_missing"), ("changed", "model_checksum"), ("link", "model_missing")],
)
@pytest.mark.parametrize("which", [0, 1])
def test_start_without_both_imported_files_is_refused(
    tmp_path: Path, damage: str, code: str, which: int
) -> None:
    rows = installed(tmp_path)
    file = tmp_path / FOLDER / rows[which].onnx_file
    raw = file.read_bytes()
    file.unlink()
    if damage == "changed":
        file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(raw)
        file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError) as caught:
        PassiveLiveness(tmp_path, 0.5, rows)
    assert caught.value.code == code
    assert "facepay liveness import" in en(caught.value.fix)


def test_config_with_the_passive_model_does_not_start_without_the_import(tmp_path: Path) -> None:
    config = Config.model_validate(
        {"liveness": {"passive": "minifasnet"}, "storage": {"directory": tmp_path}}
    )
    with pytest.raises(ModelError) as caught:
        make_liveness_models(config)
    assert caught.value.code == "model_missing"
    assert make_liveness_models(Config()) == ()


def test_doctor_names_a_passive_model_that_is_not_imported(tmp_path: Path) -> None:
    config = Config.model_validate(
        {"liveness": {"passive": "minifasnet"}, "storage": {"directory": tmp_path}}
    )
    with pytest.raises(ModelError, match=r"minifasnet-2\.7\.onnx") as caught:
        inputs_from_config(lambda: config).model()
    assert caught.value.code == "model_missing"
    assert inputs_from_config(Config).model().faces == 1


@pytest.mark.parametrize(
    ("mode", "passive"), list(itertools.product(["off", "challenge"], ["off", "minifasnet"]))
)
def test_liveness_checks_are_those_of_the_config(mode: str, passive: str) -> None:
    config = Config(liveness=LivenessConfig.model_validate({"mode": mode, "passive": passive}))
    expected = (("motion", "identity") if mode == "challenge" else ()) + (
        ("passive",) if passive == "minifasnet" else ()
    )
    assert liveness_checks(config) == expected


@pytest.mark.parametrize("answers", list(itertools.product([True, False], repeat=2)))
def test_every_model_must_accept_the_shot(answers: tuple[bool, bool]) -> None:
    class Model:
        name = "model"

        def __init__(self, answer: bool) -> None:
            self.answer = answer

        def is_live(self, _bgr: object, _face: object) -> bool:
            return self.answer

    analyzer = LocalFaceAnalyzer(
        VisionConfig(), PolicyLimits(), liveness_models=tuple(Model(answer) for answer in answers)
    )
    shot = Shot(Frame(PIXELS, 1, 0, 1280, 720), replace(FACE), even(90), 1)
    if all(answers):
        assert analyzer.crop(shot).jpeg
    else:
        with pytest.raises(LivenessError):
            analyzer.crop(shot)
