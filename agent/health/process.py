"""Resource use of this process, from the kernel: memory, processor, files, threads."""

import contextlib
import ctypes
import gc
import os
import resource
from collections.abc import Iterator
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SELF = Path("/proc/self")
_HIGH_SHARE = 0.9
_M_ARENA_MAX = -8  # malloc.h of glibc
_newest = {"rss_bytes": 0, "threads": 0}  # read last


def process_facts() -> dict[str, int | float]:
    """``rss_bytes``, ``cpu_s`` (user and system), ``open_files``, ``max_files``, ``threads``; in 0.1 ms.

    Where no further file can be opened, memory and threads are those of the call before; 0 at the first call.
    """
    usage, max_files = resource.getrusage(resource.RUSAGE_SELF), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with contextlib.suppress(OSError):
        _newest["rss_bytes"] = int((_SELF / "statm").read_text().split()[1]) * _PAGE_BYTES
        _newest["threads"] = len(os.listdir(_SELF / "task"))  # noqa: PTH208 - names only, no paths
    files = {"max_files": max_files, "open_files": _open_files(max_files)}
    return {**files, **_newest, "cpu_s": round(usage.ru_utime + usage.ru_stime, 2)}


def files_shortage() -> str:
    """ "1000 of 1024 files open" from nine tenths of the limit on; empty below."""
    max_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    open_files = _open_files(max_files)
    return f"{open_files} of {max_files} files open" if open_files >= _HIGH_SHARE * max_files > 0 else ""


def _open_files(max_files: int) -> int:
    """``max_files`` when the list itself cannot be opened."""
    try:
        return len(os.listdir(_SELF / "fd"))  # noqa: PTH208
    except OSError:
        return max_files


def disable_core_dumps() -> None:
    """Disable core dumps: the memory of this process contains faces and keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def use_one_heap() -> bool:
    """Let all threads use one heap: glibc otherwise makes one per thread, and each keeps its freed memory.

    To be called before threads start. Threads seldom wait for the one heap: large buffers are outside of it,
    and most small objects are made under the lock of Python. False with another C library than glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, 1))


def return_free_memory() -> bool:
    """Give the free pages of the heap back to the kernel, in some milliseconds. False with another C library.

    For once after the start: imports, models and the first pictures leave some MiB free between objects in
    use. glibc returns only the end of the heap by itself.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))


@contextlib.contextmanager
def imports_without_gc() -> Iterator[None]:
    """Context for module imports: no garbage collection within, and none of the new objects later.

    The objects of modules live until the end of the process. Collections during the imports took a tenth of
    the start, and every full collection while serving would visit these objects again.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
