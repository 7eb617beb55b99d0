"""Camera errors with the codes of the health conditions: one code and one fix in logs, state and doctor."""

from __future__ import annotations

import errno

from agent.errors import CameraError, Retry
from agent.health.conditions import CONDITIONS
from agent.texts import Text

_CODES = {
    errno.ENOENT: "camera_absent",
    errno.ENODEV: "camera_absent",
    errno.ENXIO: "camera_absent",
    errno.EBUSY: "camera_busy",
    errno.EACCES: "camera_denied",
    errno.EPERM: "camera_denied",  # the device policy of a systemd unit
}


def camera_error(code: str, message: str, *, fix: Text | None = None) -> CameraError:
    """A ``CameraError`` with ``Retry.BACKOFF``. Without ``fix``, the fix of the condition ``code``."""
    return CameraError(message, code=code, fix=fix or CONDITIONS[code].fix, retry=Retry.BACKOFF)


def from_os_error(name: str, error: OSError) -> CameraError:
    """The error for an ``OSError`` of device ``name``; an unlisted errno is ``camera_unavailable``."""
    return camera_error(_CODES.get(error.errno or 0, "camera_unavailable"), f"{name}: {error.strerror}")
