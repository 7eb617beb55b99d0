"""The files of the source tree that are in the package."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import build_deb
import documents
import pytest
from package_metadata import DOC
from tracked import source_files

from agent.resources import config_file
from tests.debian import ROOT, run

SECRET = "secret [1]!.pem"
STRAY = (f"config/{SECRET}", f"docs/how-to/{SECRET}", f"agent/{SECRET}", SECRET)


def test_each_unit_that_a_unit_requires_is_in_the_package(tmp_path: Path) -> None:
    """systemd starts no unit that requires a missing unit, and an operator can delete files in /etc."""
    build_deb.copy_files(tmp_path)
    shipped = tmp_path / "usr/lib/systemd/system"
    for path in (*shipped.iterdir(), *config_file("apt").glob("*.service")):
        text = path.read_text()
        assert not re.search(r"(?m)^(Requires|BindsTo|Requisite)=", text), path.name
        if "RequiredBy=" in text:
            assert (shipped / path.name).read_text() == text
            assert "\nConditionPathExists=/usr/local/sbin/facepay-after-upgrade\n" in text


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of this project with files that git does not have."""
    made = tmp_path / "checkout"
    shutil.copytree(ROOT / "packaging", made / "packaging")
    for name in source_files(ROOT, "agent", "config", "docs", "systemd"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, made / name)
    for name in ("pyproject.toml", ".gitignore", *documents.PAGES):
        shutil.copyfile(ROOT / name, made / name)
    run("git", "-C", made, "init", "--quiet")
    run("git", "-C", made, "add", ".")
    for name in STRAY:
        (made / name).write_text("a private key")
    return made


def test_a_file_that_git_does_not_have_is_not_in_the_debian_package(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "ROOT", checkout)
    documents.copy(tmp_path / "tree", tmp_path / "tree" / "site")
    copied = {path.relative_to(tmp_path / "tree" / DOC) for path in (tmp_path / "tree" / DOC).rglob("*.*")}
    assert {Path("config/agent.toml"), Path("docs/index.md")} <= copied
    assert SECRET not in {path.name for path in copied}


def test_a_file_that_git_does_not_have_is_not_in_wheel_and_source_archive(
    checkout: Path, tmp_path: Path
) -> None:
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path)
    run(*build, "--wheel", "--sdist", checkout)
    (wheel,), (archive,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = source_files(checkout, "config")
    assert {f"agent/data/{each}" for each in configs} == {
        each for each in names if each.startswith("agent/data/config/")
    }
    with tarfile.open(archive) as opened:
        archived = set(opened.getnames())
    folder = archive.name.removesuffix(".tar.gz")
    assert {f"{folder}/{each}" for each in (*configs, "packaging/build_hook.py")} <= archived
    assert not [each for each in (*names, *archived) if each.endswith(SECRET)]


def test_a_checkout_that_git_refuses_makes_no_package(tmp_path: Path) -> None:
    """For example that of another user. A package of every file could contain a key."""
    (tmp_path / ".git").mkdir()
    with pytest.raises(SystemExit, match="git cannot list"):
        source_files(tmp_path, "config")


def test_a_source_tree_without_git_is_packed_completely(tmp_path: Path) -> None:
    (tmp_path / "config" / "__pycache__").mkdir(parents=True)
    for name in ("agent.toml", "__pycache__/x.pyc"):
        (tmp_path / "config" / name).touch()
    assert source_files(tmp_path, "config", "docs") == ["config/agent.toml"]
