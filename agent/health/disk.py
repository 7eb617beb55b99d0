"""Detection of a read-only disk without a write, because writes wear a memory card."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_DISK_ERRORS = {errno.EROFS, errno.EIO}


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
