"""Translation of picamera2's and libcamera's exceptions to ``CameraError``. No other module does this."""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path

from agent.camera.errors import camera_error
from agent.errors import CameraError, Retry, reason_of
from agent.health import conditions_camera as conditions
from agent.texts import Text

log = logging.getLogger(__name__)

# libcamera's C++ errors arrive as RuntimeError; TimeoutError and PermissionError are OSErrors
_DELIBERATE = (RuntimeError, OSError, MemoryError, CancelledError)  # the library reports a fault
_BUGS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    BufferError,
)  # in the library or in this code
FOREIGN: tuple[type[Exception], ...] = (*_DELIBERATE, *_BUGS)

_GROUP, _CABLE = Text("fix.camera_group_missing"), Text("fix.camera_cable_loose")
_INSTALL = {"picamera2": Text("fix.install_picamera2"), "libcamera": Text("fix.install_libcamera")}


@contextmanager
def translate_errors(activity: str) -> Iterator[None]:
    """Raise an exception of the library as ``CameraError``. ``AgentError`` and other kinds pass unchanged."""
    try:
        yield
    except ImportError as error:
        raise not_installed(error) from error
    except FOREIGN as error:
        if not isinstance(error, _DELIBERATE):
            log.warning("picamera2_failed", exc_info=error)
        raise from_foreign(error, activity) from error


def from_foreign(error: Exception, activity: str) -> CameraError:
    """The error with code and fix for an exception of picamera2. Retry: each of these faults can pass."""
    chain = " < ".join(f"{type(link).__name__}: {link}"[:200] for link in _chain(error))
    message, lower_chain = Text("detail.camera_doing", doing=activity, chain=chain), chain.lower()
    if isinstance(error, TimeoutError):
        return stalled_camera(message)
    if any(isinstance(link, PermissionError) for link in _chain(error)) or "permission denied" in lower_chain:
        return camera_error(conditions.CAMERA_DENIED, message, fix=_GROUP)
    if "busy" in lower_chain or "in use" in lower_chain:
        return camera_error(conditions.CAMERA_BUSY, message, fix=Text("fix.camera_held"))
    if "no camera" in lower_chain or "camera(s) not found" in lower_chain:
        return absent_camera(message)
    if "dmaheap" in lower_chain or "allocat" in lower_chain or isinstance(error, MemoryError):
        return camera_error(conditions.CAMERA_UNAVAILABLE, message, fix=Text("fix.camera_memory_missing"))
    return camera_error(conditions.CAMERA_UNAVAILABLE, message, fix=_CABLE)


def not_installed(error: ImportError) -> CameraError:
    """The error for a missing library. No retry: only an installation helps."""
    fix = _INSTALL.get((error.name or "").split(".")[0], Text("fix.install_picamera2_library"))
    why = Text("detail.picamera_import", reason=reason_of(error))
    return camera_error(conditions.CAMERA_ABSENT, why, fix=fix, retry=Retry.NEVER)


def absent_camera(message: Text, fix: Text = _CABLE, devices: Path = Path("/dev")) -> CameraError:
    """The error for an empty camera list. libcamera lists no camera either when access is denied."""
    nodes = sorted(devices.glob("media*"))
    if nodes and not any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
        why = Text("detail.node_denied", reason=message, node=nodes[0])
        return camera_error(conditions.CAMERA_DENIED, why, fix=_GROUP)
    return camera_error(conditions.CAMERA_ABSENT, message, fix=fix)


def stalled_camera(message: Text) -> CameraError:
    """The error for a stream that delivers no frames."""
    return camera_error(conditions.CAMERA_STALLED, message, fix=Text("fix.camera_restarts"))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: picamera2 raises "did not complete", with the reason one level below."""
    link: BaseException | None = error
    for _ in range(8):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__
