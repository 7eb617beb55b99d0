"""What picamera2 and libcamera raise, in our words: the only place that knows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path

from agent.errors import CameraError, Retry

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

_INSTALL = "sudo apt-get install python3-libcamera; then restart the agent."
_GROUP = "Let the agent's user into the group video (the package's unit does), then restart the agent."
_CABLE = "Seat the camera's ribbon cable, then `rpicam-hello --list-cameras` must name it."


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raises what happens inside as ``CameraError``; ours pass as they are, and so do bugs of other kinds."""
    try:
        yield
    except ImportError as error:
        raise not_installed(error) from error
    except FOREIGN as error:
        raise from_foreign(error, doing) from error


def from_foreign(error: Exception, doing: str) -> CameraError:
    words = _words(error)
    said = f"the camera, while {doing}: {words}"
    low = words.lower()
    if isinstance(error, TimeoutError):
        return stalled(said)
    if _caused_by(error, PermissionError) or "permission denied" in low:
        return CameraError(said, code="camera_unavailable", fix=_GROUP, retry=Retry.BACKOFF)
    if "busy" in low or "in use" in low:
        return CameraError(
            said,
            code="camera_busy",
            fix="Another program holds the camera: end it (`sudo fuser -v /dev/media*` names it).",
            retry=Retry.BACKOFF,
        )
    if "no camera" in low or "not found" in low:
        return absent(said)
    if "dmaheap" in low or "allocat" in low or isinstance(error, MemoryError):
        fix = "The camera's memory is used up or missing: restart the terminal; /dev/dma_heap must be there."
        return CameraError(said, fix=fix, retry=Retry.BACKOFF)
    return CameraError(said, retry=Retry.BACKOFF)


def not_installed(error: ImportError) -> CameraError:
    """Nothing heals that but an installation, so nobody tries again."""
    name = (error.name or "").split(".")[0]
    fix = {
        "picamera2": "pip install 'facepay-agent[terminal]' on the aarch64 terminal; then restart the agent.",
        "libcamera": f"{_INSTALL} Its Python must be the system's, with --system-site-packages in a venv.",
    }.get(name, f"picamera2 needs {name or 'a library'}: {_INSTALL}")
    return CameraError(f"camera.kind = 'picamera2' needs {name}: {error}", code="camera_absent", fix=fix)


def absent(said: str, devices: Path = Path("/dev")) -> CameraError:
    """libcamera lists no camera; it lists none either when it may not open the devices."""
    nodes = sorted(devices.glob("media*"))
    if nodes and not any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
        shut = f"{said}; {nodes[0]} may not be opened by this user"
        return CameraError(shut, code="camera_absent", fix=_GROUP, retry=Retry.BACKOFF)
    return CameraError(said, code="camera_absent", fix=_CABLE, retry=Retry.BACKOFF)


def stalled(said: str) -> CameraError:
    return CameraError(
        said,
        code="camera_stalled",
        fix="It is started anew by itself; if it comes back, seat the cable or replace the camera.",
        retry=Retry.BACKOFF,
    )


def hangs() -> CameraError:
    return CameraError(
        "the camera driver hangs",
        code="camera_stalled",
        fix="Restart the agent; if it stays so, the terminal.",
        retry=Retry.BACKOFF,
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from: picamera2 says "did not complete" and hides why one level below."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _caused_by(error: Exception, kind: type[Exception]) -> bool:
    return any(isinstance(one, kind) for one in _chain(error))


def _words(error: Exception) -> str:
    return " < ".join(f"{type(one).__name__}: {one}"[:200] for one in _chain(error))
