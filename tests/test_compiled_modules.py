"""The workers of pytest-xdist compile the modules of a fresh clone together."""

from __future__ import annotations

import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from tests.compiled_modules import compile_part


def compiled(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.py") if Path(cache_from_source(str(path))).exists()}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "folder").mkdir()
    for name in ("a.py", "b.py", "folder/c.py", "folder/d.py", "folder/e.py"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_each_module_is_compiled_by_one_worker(modules: Path) -> None:
    compile_part([modules], 0, 2)
    first = compiled(modules)
    compile_part([modules / "a.py", modules / "b.py", modules / "folder"], 1, 2)
    assert first and first < compiled(modules) == {"a.py", "b.py", "c.py", "d.py", "e.py"}


def test_an_invalid_module_is_left_to_the_collection(modules: Path) -> None:
    (modules / "a.py").write_text("no python")
    (modules / "test_f.py").write_text("raise OSError")
    compile_part([modules, modules / "missing"], 0, 1)
    assert compiled(modules) == {"b.py", "c.py", "d.py", "e.py"}


def test_without_bytecode_nothing_is_compiled(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    compile_part([modules], 0, 1)
    assert compiled(modules) == set()
