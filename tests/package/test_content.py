"""The files of the source tree that are in the package."""

from __future__ import annotations

import os
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
from tracked import other_files, source_files

from agent.resources import config_file
from tests.debian import ROOT, run

SECRET = "secret [1]!.pem"
REPORTED = (
    *(f"{folder}{SECRET}" for folder in ("config/", "docs/how-to/", "agent/", "")),
    "agent/tab.pem\t",
    os.fsdecode(b"config/not-utf-8-\xff.pem"),
)
IGNORED = {  # by the file that ignores it
    ".gitignore": "agent/build/root.pem",
    "agent/.gitignore": "agent/nested.pem",
    ".git/info/exclude": "config/exclude.pem",
    ".git/excludes-file": "agent/excludes-file.pem",  # core.excludesFile
}
STRAY = (*REPORTED, *IGNORED.values())


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
    """A checkout of this project with files that are not tracked by git."""
    made = tmp_path / "checkout"
    shutil.copytree(ROOT / "packaging", made / "packaging", ignore=shutil.ignore_patterns("__pycache__"))
    for name in source_files(ROOT, "agent", "config", "docs", "systemd"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, made / name)
    for name in ("pyproject.toml", ".gitignore", *documents.PAGES):
        shutil.copyfile(ROOT / name, made / name)
    (made / "agent/.gitignore").write_text("nested.pem")
    run("git", "-C", made, "init", "--quiet")
    run("git", "-C", made, "add", ".")
    for name in STRAY:
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text("a private key")
    for file in (".git/info/exclude", ".git/excludes-file"):
        (made / file).write_text(Path(IGNORED[file]).name)
    run("git", "-C", made, "config", "core.excludesFile", made / ".git/excludes-file")
    return made


def tracked_by_git(checkout: Path) -> set[str]:
    return set(run("git", "-C", checkout, "ls-files").splitlines())


def build(source: Path, folder: Path, *options: str) -> tuple[str, Path, Path | None]:
    """The messages of a build, the wheel, and the source archive if it was built."""
    messages = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, *options, source)
    (wheel,) = folder.glob("*.whl")
    return messages, wheel, next(folder.glob("*.tar.gz"), None)


def test_a_file_that_is_not_tracked_by_git_is_not_in_the_debian_package(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "ROOT", checkout)
    documents.copy(tmp_path / "tree", tmp_path / "tree" / "site")
    copied = {path.relative_to(tmp_path / "tree" / DOC) for path in (tmp_path / "tree" / DOC).rglob("*.*")}
    assert {Path("config/agent.toml"), Path("docs/index.md")} <= copied
    assert not {Path(each).name for each in STRAY} & {path.name for path in copied}


def test_wheel_and_source_archive_have_the_files_that_are_tracked_by_git(
    checkout: Path, tmp_path: Path
) -> None:
    tracked = tracked_by_git(checkout)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/linked.pem").write_text("a private key")
    (checkout / "agent/linked").symlink_to(tmp_path / "outside")
    run("git", "-C", checkout, "add", "agent/linked")
    messages, wheel, archive = build(checkout, tmp_path / "first", "--wheel", "--sdist")
    names = zipfile.ZipFile(wheel).namelist()
    packed = {each for each in names if ".dist-info/" not in each}
    assert packed == {each for each in tracked if each.startswith("agent/")} | {
        f"agent/data/{each}" for each in tracked if each.startswith("config/")
    }
    assert archive is not None
    folder = archive.name.removesuffix(".tar.gz")
    with tarfile.open(archive) as opened:
        assert set(opened.getnames()) == {f"{folder}/{each}" for each in (*tracked, "PKG-INFO")}
        opened.extractall(tmp_path, filter="data")
    assert all(repr(each) in messages for each in REPORTED)
    assert not [each for each in IGNORED.values() if each in messages]
    _, again, _ = build(tmp_path / folder, tmp_path / "second", "--wheel")  # without .git
    assert again.read_bytes() == wheel.read_bytes()


def test_an_editable_installation_needs_no_git(checkout: Path, tmp_path: Path) -> None:
    """git refuses the checkout of another user, for example in a container."""
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").mkdir()
    hatchling = (sys.executable, "-m", "hatchling", "build", "--target", "wheel:editable")
    run("env", "-C", checkout, *hatchling, "--directory", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert not [each for each in zipfile.ZipFile(wheel).namelist() if each.startswith("agent/")]


def test_a_checkout_that_git_refuses_makes_no_package(tmp_path: Path) -> None:
    """For example that of another user. A package of every file could contain a key."""
    (tmp_path / ".git").mkdir()
    with pytest.raises(SystemExit, match="git cannot list"):
        source_files(tmp_path, "config")


def test_a_checkout_makes_no_package_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="git is not installed"):
        source_files(tmp_path, "config")


def test_a_checkout_without_tracked_files_makes_no_package(tmp_path: Path) -> None:
    run("git", "-C", tmp_path, "init", "--quiet")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/agent.toml").touch()
    with pytest.raises(SystemExit, match=r"no file of .* is tracked by git"):
        source_files(tmp_path, "config")


def test_variables_of_git_select_no_other_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git sets them for its hooks, e.g. for one that builds a package."""
    for name in ("this", "other"):
        (tmp_path / name / "config").mkdir(parents=True)
        (tmp_path / name / "config" / f"{name}.toml").touch()
        run("git", "-C", tmp_path / name, "init", "--quiet")
        run("git", "-C", tmp_path / name, "add", ".")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    assert source_files(tmp_path / "this", "config") == ["config/this.toml"]


def test_a_project_in_a_larger_repository_has_its_tracked_files(tmp_path: Path) -> None:
    project = tmp_path / "repository/project"
    (project / "config").mkdir(parents=True)
    (project / "config/agent.toml").touch()
    run("git", "-C", project.parent, "init", "--quiet")
    assert source_files(project, "config") == ["config/agent.toml"]  # an unpacked source archive
    assert other_files(project) == []
    run("git", "-C", project.parent, "add", ".")
    (project / "config/key.pem").touch()
    assert source_files(project, "config") == ["config/agent.toml"]
    assert other_files(project) == ["config/key.pem"]


def test_a_source_tree_without_git_is_packed_completely(tmp_path: Path) -> None:
    (tmp_path / "config" / "__pycache__").mkdir(parents=True)
    for name in ("agent.toml", "__pycache__/x.pyc"):
        (tmp_path / "config" / name).touch()
    assert source_files(tmp_path, "config", "docs") == ["config/agent.toml"]
