"""The files of the source tree that are tracked by git: a package must not have other files of a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def source_files(root: Path, *folders: str) -> list[str]:
    """The files below the folders of ``root``, as paths from ``root``, sorted. A deleted file is not listed.

    In a checkout: the tracked files. Outside, e.g. in an unpacked source archive: every file. Raises as
    ``tracked_files``.
    """
    tracked = tracked_files(root)
    if tracked is not None:
        return [each for each in tracked if each.partition("/")[0] in folders]
    found = (path for folder in folders for path in (root / folder).rglob("*") if path.is_file())
    return sorted(path.relative_to(root).as_posix() for path in found if "__pycache__" not in path.parts)


def tracked_files(root: Path) -> list[str] | None:
    """The files below ``root`` that are tracked by git, as paths from ``root``, sorted. No symbolic links.

    None: ``root`` is in no checkout, or is a folder of a larger checkout without a tracked file.

    Raises:
        SystemExit: ``root`` is in a checkout, but git is not installed or refuses the checkout, e.g. that of
            another user; or ``root`` is a checkout without a tracked file.
    """
    if not any((place / ".git").exists() for place in (root, *root.resolve().parents)):
        return None
    listed = {*_listed(root, "--cached")}
    if listed:
        return sorted(each for each in listed if (root / each).is_file() and not (root / each).is_symlink())
    if (root / ".git").exists():
        sys.exit(f"no file of {root} is tracked by git: run git add, then build again")
    return None


def other_files(root: Path) -> list[str]:
    """The files that are neither tracked by git nor ignored, or their folder. Empty outside a checkout.

    Raises as ``tracked_files``.
    """
    if tracked_files(root) is None:
        return []
    return _listed(root, "--others", "--exclude-standard", "--directory", "--no-empty-directory")


def _listed(root: Path, *options: str) -> list[str]:
    # variables such as GIT_DIR, which a git hook sets, select another repository
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ("git", "-C", str(root), "ls-files", "-z", *options)
    try:
        done = subprocess.run(command, check=False, capture_output=True, env=env)
    except FileNotFoundError:
        sys.exit(f"git is not installed, so the files of {root} that belong in the package are not known")
    if done.returncode:
        sys.exit(f"git cannot list the files of the package: {os.fsdecode(done.stderr).strip()}")
    return os.fsdecode(done.stdout).split("\0")[:-1]  # a name can have bytes that are not UTF-8
