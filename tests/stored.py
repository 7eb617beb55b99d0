"""Folders that take minutes to make, stored in the user's cache directory: file systems, packages.

Several processes may ask for one folder: workers of one run, and runs of other checkouts. One of them makes
the folder, the others wait. A folder that was filled with an error is not stored.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

UNUSED_S = 86_400.0  # a package of another state of the sources, not used for this long, is deleted


def kept(name: str) -> Path:
    """The path of a stored folder with this name; the folder may not exist."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "facepay-agent" / name


def stored(base: Path, make: Callable[[Path], None]) -> Path:
    """``base``. When it does not exist, ``make`` fills a new folder, which then becomes ``base``."""
    with _locked(base):
        if not base.exists():
            partial = Path(tempfile.mkdtemp(prefix="partial-", dir=base.parent))
            try:
                make(partial)
                partial.chmod(0o755)
                partial.rename(base)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        os.utime(base)
    return base


def delete_unused(folders: str) -> None:
    """Delete the stored folders of this glob pattern that were not used for a day."""
    for base in kept("").glob(folders):
        with _locked(base):
            if base.exists() and time.time() - base.stat().st_mtime > UNUSED_S:
                shutil.rmtree(base, ignore_errors=True)


@contextmanager
def _locked(base: Path) -> Iterator[None]:
    """No other process makes or deletes this folder. The lock file stays: others may wait for it."""
    base.parent.mkdir(parents=True, exist_ok=True)
    with base.with_name(f".{base.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
