"""Atomic file writes that survive a power cut: write a temporary file, sync, rename."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes, *, mode: int = 0o600, like: Path | None = None) -> None:
    """Replace ``path`` atomically. Owner and mode: of ``like`` if it exists, else the process and ``mode``.

    Raises:
        OSError: ``path`` is unchanged; or it is replaced, and the disk failed before that was durable.
    """
    # Never follow a link: in a folder of another user the link can point to any owner and mode.
    owner = like.lstat() if like is not None and like.is_file() and not like.is_symlink() else None
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # a link at this path must not be followed
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if owner is not None and os.geteuid() == 0:
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fchmod(file.fileno(), owner.st_mode & 0o777 if owner is not None else mode)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
