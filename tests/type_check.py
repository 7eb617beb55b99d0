"""Type checks in tests, with the results of ``make lint`` for all modules that a test does not change."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

KNOWN = Path(__file__).parent.parent / ".mypy_cache"


def copied_cache(folder: Path) -> Path:
    """A folder in ``folder`` for ``--cache-dir`` of a mypy with the options of the repository.

    Without ``make lint`` it is empty, and mypy checks each imported module.
    """
    copy = folder / "mypy"
    if KNOWN.is_dir():
        with contextlib.suppress(shutil.Error):  # a file that another mypy replaces
            shutil.copytree(KNOWN, copy)
    return copy
