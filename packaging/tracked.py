"""The files of the source tree that git has: a package must not have other files of a checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def source_files(root: Path, *folders: str) -> list[str]:
    """The files below the folders, as paths from ``root``, sorted. A file that was deleted is not listed.

    Without git, e.g. in an unpacked source archive: every file. Raises as ``other_files``.
    """
    found = {
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    listed = _listed(root, "--cached", "--", *folders)
    return sorted(found if listed is None else found & {*listed})


def other_files(root: Path) -> list[str]:
    """The files that git neither has nor ignores; empty without git.

    Raises:
        SystemExit: git refuses the checkout, e.g. that of another user.
    """
    return _listed(root, "--others", "--exclude-standard") or []


def _listed(root: Path, *options: str) -> list[str] | None:
    """None: this is no checkout, or git is not installed."""
    if not (root / ".git").exists():
        return None
    command = ("git", "-C", str(root), "ls-files", "-z", *options)
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        print("git is not installed: the package has every file of the checkout", file=sys.stderr)
        return None
    if done.returncode:
        sys.exit(f"git cannot list the files of the package: {done.stderr.strip()}")
    return done.stdout.split("\0")[:-1]
