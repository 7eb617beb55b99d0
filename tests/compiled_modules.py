"""The bytecode of a fresh clone, compiled once for all workers of pytest-xdist.

All workers collect the same modules in the same order. In a fresh clone each of them compiles each module
and rewrites its assertions: 5 s of CPU in each worker. Here a worker compiles its own part first, while
the others compile theirs. Later it finds the files of the others.
"""

from __future__ import annotations

import compileall
import contextlib
import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def compile_part(paths: Iterable[Path], worker: int, workers: int) -> None:
    """Compile every ``workers``-th module below the folders or files ``paths``, beginning with ``worker``.

    A test module is imported, so that pytest rewrites its assertions. Its errors are left to the collection.
    No effect if Python writes no bytecode.
    """
    if sys.dont_write_bytecode:
        return
    modules = sorted({file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))})
    own = modules[worker::workers]
    for module in own:
        if not module.name.startswith("test_"):
            compileall.compile_file(module, quiet=2)
    for module in own:
        if module.name.startswith("test_"):
            with contextlib.suppress(Exception, pytest.skip.Exception):
                importlib.import_module(".".join(module.relative_to(ROOT).with_suffix("").parts))
