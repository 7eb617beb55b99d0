"""Files that are whole after a power cut: written beside their place, synced, then moved there."""

from __future__ import annotations

import os
from pathlib import Path

from agent.errors import AgentError


def write_whole(path: Path, content: bytes, *, mode: int = 0o640, like: Path | None = None) -> None:
    """Replace ``path``. Owner and mode are those of ``like`` where that exists, else ours and ``mode``.

    Raises:
        OSError: nothing was changed.
    """
    # no link's end: in a folder of somebody else it could lend us any owner and mode
    model = like.lstat() if like is not None and like.is_file() and not like.is_symlink() else None
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # a link that lies there must not be followed
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if model is not None and os.geteuid() == 0:
                os.fchown(file.fileno(), model.st_uid, model.st_gid)
            os.fchmod(file.fileno(), model.st_mode & 0o777 if model is not None else mode)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in it last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bounded(path: Path, limit_bytes: int, error: AgentError) -> bytes:
    """A file of at most ``limit_bytes``; ``error`` is raised, with the reason added, when it is not one."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit_bytes + 1)
    except OSError as why:
        error.args = (f"{path}: {why.strerror}",)
        raise error from why
    if len(raw) > limit_bytes:
        error.args = (f"{path}: more than {limit_bytes} bytes",)
        raise error
    return raw
