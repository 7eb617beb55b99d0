"""What this process takes of the machine, as the kernel tells it: memory, processor, files, threads."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
from collections.abc import Iterator
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SELF = Path("/proc/self")


def process_facts() -> dict[str, int | float]:
    """``rss_bytes``, ``cpu_s`` (user and system), ``open_files``, ``max_files``, ``threads``. 0.1 ms."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rss_bytes": int((_SELF / "statm").read_text().split()[1]) * _PAGE_BYTES,
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "open_files": len(os.listdir(_SELF / "fd")),  # noqa: PTH208 - names only, no path of each
        "max_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "threads": len(os.listdir(_SELF / "task")),  # noqa: PTH208
    }


def dump_no_core() -> None:
    """From now on a crash leaves no copy of this process's memory, in which faces and keys stand."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Around what loads modules: what it makes stays until the end, so no garbage is looked for in it.

    The collector would walk through all of it again and again, which took a tenth of the start; and once more
    with each full collection while serving.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
