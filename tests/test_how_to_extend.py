"""The five changes of docs/explanation/how-to-extend.md: a forgotten step is a type error or a failed test.

Each case applies the first step of a change to a copy of the repository, forgets the next step, and expects
the message that names the place. The copy is type-checked or tested as a contributor would do it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
COPIED = (
    "agent",
    "config",
    "tests",
    "docs",
    "packaging",
    "pyproject.toml",
    "README.md",
    "Makefile",
    "systemd",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository without its environment and its history."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "results")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy2(source, tmp_path / name)
    return tmp_path


def change(copy: Path, file: str, before: str, after: str) -> None:
    path = copy / file
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{file}: {before!r}"
    path.write_text(text.replace(before, after), encoding="utf-8")


def output_of(copy: Path, *command: str) -> str:
    """What a module prints in the copy. The copy comes first on the path: the checkout is installed, too."""
    code = f"import sys, runpy; sys.path.insert(0, {str(copy)!r}); sys.argv[0] = {command[0]!r}; "
    code += f"runpy.run_module({command[0]!r}, run_name='__main__', alter_sys=True)"
    done = subprocess.run(
        [sys.executable, "-c", code, *command[1:]],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode != 0, "the forgotten step was not found"
    return done.stdout + done.stderr


def type_errors(copy: Path, file: str) -> str:
    return output_of(copy, "mypy", "--no-incremental", file)


def failures(copy: Path, *tests: str) -> str:
    return output_of(copy, "pytest", "-q", "-p", "no:cacheprovider", *tests)


def test_a_camera_kind_without_a_backend_is_a_type_error(copy: Path) -> None:
    change(copy, "agent/config/vision.py", 'kind: Literal["replay", ', 'kind: Literal["gige", "replay", ')
    errors = type_errors(copy, "agent/root/cameras.py")
    assert "agent/root/cameras.py" in errors and "gige" in errors


def test_a_provider_without_a_client_is_a_type_error(copy: Path) -> None:
    change(
        copy,
        "agent/config/__init__.py",
        'provider: Literal["face_compare_2018", ',
        'provider: Literal["example_2027", "face_compare_2018", ',
    )
    errors = type_errors(copy, "agent/root/wiring.py")
    assert "agent/root/wiring.py" in errors and "example_2027" in errors


def test_a_frame_reason_without_a_reason_is_a_type_error(copy: Path) -> None:
    before = '    BLURRED = "blurred"\n    COVERED'
    change(copy, "agent/core/reasons.py", before, '    GLASSES = "glasses"\n' + before)
    assert "agent/core/reason_mapping.py" in type_errors(copy, "agent/core/reason_mapping.py")


def test_a_reason_without_texts_and_contract_is_named(copy: Path) -> None:
    change(
        copy,
        "agent/core/reasons.py",
        '    FACE_LOST = "face_lost"\n',
        '    FACE_LOST = "face_lost"\n    GLASSES_REFLECT = "glasses_reflect"\n',
    )
    output = failures(copy, "tests/docs/test_docs.py", "tests/contract/test_contract.py")
    assert "glasses_reflect" in output


def test_a_policy_limit_without_its_config_key_is_named(copy: Path) -> None:
    change(
        copy,
        "agent/core/policy.py",
        "    excellent_score: float = 80.0\n",
        "    excellent_score: float = 80.0\n    min_mouth_visible: float = 0.0\n",
    )
    assert "min_mouth_visible" in failures(copy, "tests/test_config.py")


def test_a_result_field_without_its_schema_is_named(copy: Path) -> None:
    change(
        copy,
        "agent/messages/encode.py",
        '        "asks": min(value.asks, value.calls),\n        "issued_at"',
        '        "asks": min(value.asks, value.calls),\n        "frames_analyzed": 3,\n        "issued_at"',
    )
    output = failures(copy, "tests/contract/test_contract.py")
    assert "frames_analyzed" in output or "python -m tests.contract.golden" in output
