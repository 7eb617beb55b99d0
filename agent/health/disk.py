"""Whether a disk still takes what is written, found out without writing: a memory card wears by writing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_DISK = {errno.EROFS, errno.EIO}


def is_read_only(path: Path) -> bool:
    """Whether the kernel would not open this file for writing because of the disk it is on.

    False for a file that is missing, or not for this user: that is another trouble. Not for a file that
    SQLite has open in this process: closing it would drop SQLite's locks. Neither statvfs(2) nor access(2)
    knows of a file system that ext4 stopped after an error (Linux 6.14 and later).
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in _DISK
    return False
