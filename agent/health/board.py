"""Readings of the board from the kernel: clock synchronisation (as ``timedatectl``), disk, temperature.

The disk is checked without a write, because writes wear a memory card.
"""

import ctypes
import errno
import os
from pathlib import Path

EARLIEST_MS = 1_767_225_600_000  # 2026-01-01, before the first release: an earlier clock was never set
_TIMEX_BYTES = 512  # struct timex has about 208 bytes on 64-bit Linux; the kernel writes that struct only
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
# systemd-timesyncd(8): created at the first synchronisation
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
FULL_BYTES, LOW_INODES = 20_000_000, 1_000  # free for the service's user
VERIFICATION_BYTES = 65_536  # free: a claim and a result write some pages of 4 KiB, each twice
_DISK_ERRORS = {errno.EROFS, errno.EIO}
HOT_C = 85.0  # a Pi slows down from 80 to 85


def is_synchronised() -> bool | None:
    """Whether the clock is synchronised; None while unknown. Takes microseconds and changes nothing.

    The system call filter of the unit may forbid adjtimex(2). Then the mark of systemd-timesyncd decides, and
    only if the mark exists, because another time service creates no mark.
    """
    state = _adjtimex()
    if state is not None:
        return state != _TIME_ERROR
    return True if _TIMESYNCD.exists() else None


def _adjtimex() -> int | None:
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else int(state)


def shortage(statvfs: os.statvfs_result) -> str:
    """What a file system lacks: "0 MB free" or "7 inodes left"; empty when it has enough."""
    free_bytes = statvfs.f_bavail * statvfs.f_frsize
    if free_bytes < FULL_BYTES:
        return f"{free_bytes // 1_000_000} MB free"
    if statvfs.f_files and statvfs.f_favail < LOW_INODES:
        return f"{statvfs.f_favail} inodes left"
    return ""


def is_full(folder: Path) -> bool:
    """Whether the file system has no space for the pages of one verification. False: it cannot be read."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    # a file system without a limit, e.g. ramfs, reports 0 blocks
    return bool(found.f_blocks) and found.f_bavail * found.f_frsize < VERIFICATION_BYTES


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


def hottest_c(root: Path = Path("/")) -> float | None:
    """The highest temperature of all zones in °C; None without a zone."""
    temperatures_c = []
    for zone in (root / "sys/class/thermal").glob("thermal_zone*/temp"):
        try:
            temperatures_c.append(int(zone.read_text()) / 1e3)
        except (OSError, ValueError):
            continue  # a zone whose driver is not ready
    return max(temperatures_c, default=None)
