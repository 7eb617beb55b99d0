"""What picamera2 and libcamera raise, in our words: the only place that knows."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path

from agent.camera.errors import camera_error
from agent.errors import CameraError, Retry
from agent.health.condition import Condition
from agent.health.conditions_camera import (
    CAMERA_ABSENT,
    CAMERA_BUSY,
    CAMERA_DENIED,
    CAMERA_STALLED,
    CAMERA_UNAVAILABLE,
)
from agent.texts import Text

log = logging.getLogger(__name__)

# libcamera's C++ errors arrive as RuntimeError; TimeoutError and PermissionError are OSErrors
FOREIGN: tuple[type[Exception], ...] = (
    RuntimeError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    BufferError,
    MemoryError,
    CancelledError,
)

_SPOKEN = (RuntimeError, OSError, MemoryError, CancelledError)  # how the library says that something is wrong

_FIXES = {  # English, Chinese
    "group": Text("fix.camera_group_missing"),
    "cable": Text("fix.camera_cable_loose"),
    "busy": Text("fix.camera_held"),
    "memory": Text("fix.camera_memory_missing"),
    "stalled": Text("fix.camera_restarts"),
    "hangs": Text("fix.restart_agent_then_terminal"),
    "picamera2": Text("fix.install_picamera2"),
    "libcamera": Text("fix.install_libcamera"),
    "library": Text("fix.install_picamera2_library"),
    "source": Text("fix.camera_source_unknown"),
}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raises what happens inside as ``CameraError``; ours pass as they are, and so do bugs of other kinds."""
    try:
        yield
    except ImportError as error:
        raise not_installed(error) from error
    except FOREIGN as error:
        if not isinstance(error, _SPOKEN):
            log.warning("picamera2_failed", exc_info=error)  # theirs or ours: where, the traceback tells
        raise from_foreign(error, doing) from error


def from_foreign(error: Exception, doing: str) -> CameraError:
    """One sentence and one fix for what picamera2 raised. Each may heal, so each is worth another try."""
    words = _words(error)
    said, low = f"the camera, while {doing}: {words}", words.lower()
    if isinstance(error, TimeoutError):
        return stalled(said)
    if any(isinstance(one, PermissionError) for one in _chain(error)) or "permission denied" in low:
        return _trouble(CAMERA_DENIED, said, "group")
    if "busy" in low or "in use" in low:
        return _trouble(CAMERA_BUSY, said, "busy")
    if "no camera" in low or "camera(s) not found" in low:
        return absent(said)
    if "dmaheap" in low or "allocat" in low or isinstance(error, MemoryError):
        return _trouble(CAMERA_UNAVAILABLE, said, "memory")
    return _trouble(CAMERA_UNAVAILABLE, said, "cable")


def not_installed(error: ImportError) -> CameraError:
    """Nothing heals that but an installation, so nobody tries again."""
    name = (error.name or "").split(".")[0]
    fix = name if name in ("picamera2", "libcamera") else "library"
    return _trouble(CAMERA_ABSENT, f"camera.kind = 'picamera2': {error}", fix, Retry.NEVER)


def absent(said: str, fix: str = "cable", devices: Path = Path("/dev")) -> CameraError:
    """libcamera lists no camera; it lists none either when it may not open the devices."""
    nodes = sorted(devices.glob("media*"))
    if nodes and not any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
        return _trouble(CAMERA_DENIED, f"{said}; {nodes[0]} may not be opened by this user", "group")
    return _trouble(CAMERA_ABSENT, said, fix)


def stalled(said: str) -> CameraError:
    return _trouble(CAMERA_STALLED, said, "stalled")


def hangs() -> CameraError:
    return _trouble(CAMERA_STALLED, "the camera driver hangs", "hangs")


def _trouble(condition: Condition, said: str, fix: str, retry: Retry = Retry.BACKOFF) -> CameraError:
    """``fix``: a key of the table above."""
    error = camera_error(condition, said, fix=_FIXES[fix])
    error.retry = retry
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from: picamera2 says "did not complete" and hides why one level below."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _words(error: Exception) -> str:
    return " < ".join(f"{type(one).__name__}: {one}"[:200] for one in _chain(error))
