"""Resource use of this process, from the kernel: memory, processor, files, threads."""

import contextlib
import gc
import os
import resource
from collections.abc import Iterator
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SELF = Path("/proc/self")


def process_facts() -> dict[str, int | float]:
    """``rss_bytes``, ``cpu_s`` (user and system), ``open_files``, ``max_files``, ``threads``; in 0.1 ms."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rss_bytes": int((_SELF / "statm").read_text().split()[1]) * _PAGE_BYTES,
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "open_files": len(os.listdir(_SELF / "fd")),  # noqa: PTH208 - names only, no paths
        "max_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "threads": len(os.listdir(_SELF / "task")),  # noqa: PTH208
    }


def dump_no_core() -> None:
    """Disable core dumps: the memory of this process contains faces and keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Context for module imports: disables the collector, then excludes the new objects from collection.

    The objects of modules live until the end of the process. Collections during the imports took a tenth of
    the start, and every full collection while serving would visit these objects again.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
