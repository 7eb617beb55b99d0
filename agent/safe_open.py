"""Functions that open a file in another user's folder without hanging and without following a link.

Root reads the service's folder: support archive, doctor, privacy audit, traces. An attacker who controls the
service can place a pipe without a writer there, a device, a link, or an endless file.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from agent.errors import WrongValueError
from agent.texts import Text

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a pipe without a writer opens at once


def open_plain(path: Path, *, links: bool = False) -> BinaryIO:
    """Open a regular file for reading. ``links``: follow a link, as for a path that the config names.

    Raises:
        OSError: as ``open``; also for a pipe, device, socket or folder, and for a link without ``links``.
    """
    try:
        descriptor = os.open(path, _FLAGS | (0 if links else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno == errno.ELOOP and not links:
            fault = _fault(errno.ELOOP, path, Text("detail.file_is_link"))
            raise fault from fault.__cause__
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _fault(errno.EINVAL, path, Text("detail.file_is_none"))
    return os.fdopen(descriptor, "rb")


def check_plain(path: Path) -> None:
    """As ``open_plain``, without opening the file.

    The remote diagnosis examines the outbox that the same process has open. POSIX locks belong to a process:
    closing any descriptor of the file releases SQLite's locks. Then a second program that closes the database
    deletes the journal in use.
    """
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise _fault(errno.ELOOP, path, Text("detail.file_is_link"))
    if not stat.S_ISREG(mode):
        raise _fault(errno.EINVAL, path, Text("detail.file_is_none"))
    if not os.access(path, os.R_OK):
        raise _fault(errno.EACCES, path, Text("detail.file_denied"))


def read_plain(path: Path, limit_bytes: int, *, links: bool = False) -> bytes:
    """Read a complete file. Raises ``OSError``: as ``open_plain``, or longer than ``limit_bytes``."""
    with open_plain(path, links=links) as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise too_long(path, limit_bytes)
    return content


def file_stamp(path: Path, *, links: bool = False) -> tuple[int, int, int]:
    """Inode, time of change in ns and size: differs after each change of the file. Raises ``OSError``."""
    file_stat = path.stat() if links else path.lstat()
    return file_stat.st_ino, file_stat.st_mtime_ns, file_stat.st_size


def too_long(path: Path, limit_bytes: int) -> OSError:
    """The error for a file longer than ``limit_bytes``."""
    return _fault(errno.EFBIG, path, Text("detail.file_too_long", limit_bytes=limit_bytes))


def _fault(number: int, path: Path, text: Text) -> OSError:
    """An ``OSError`` whose cause has its text in every language, for ``errors.reason_of``."""
    error = OSError(number, str(text), str(path))
    error.__cause__ = WrongValueError(text)
    return error
