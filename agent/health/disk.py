"""Detection of a full or read-only disk without a write, because writes wear a memory card."""

from __future__ import annotations

import errno
import os
from pathlib import Path

FULL_BYTES, LOW_INODES = 20_000_000, 1_000  # free for the service's user
_DISK_ERRORS = {errno.EROFS, errno.EIO}


def shortage(about: os.statvfs_result) -> str:
    """What a file system lacks: "0 MB free" or "7 inodes left"; empty when it has enough."""
    free_bytes = about.f_bavail * about.f_frsize
    if free_bytes < FULL_BYTES:
        return f"{free_bytes // 1_000_000} MB free"
    if about.f_files and about.f_favail < LOW_INODES:
        return f"{about.f_favail} inodes left"
    return ""


def is_read_only(path: Path) -> bool:
    """Whether the kernel refuses to open this file for writing because of its disk.

    False for a missing file and for missing permission: those are other faults. Do not use for a file that
    SQLite has open in this process, because a close would release SQLite's locks. statvfs(2) and access(2) do
    not detect a file system that ext4 stopped after an error (Linux 6.14 and later).
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in _DISK_ERRORS
    return False
