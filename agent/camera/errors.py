"""A camera's troubles in the words of the health conditions: one code, one fix, in logs, state and doctor."""

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
    """An error that a new try may mend; its fix is the condition's unless a better one is given."""
    return CameraError(message, code=code, fix=fix or CONDITIONS[code].fix, retry=Retry.BACKOFF)


def refused_by_kernel(name: str, error: OSError) -> CameraError:
    """What the kernel said when the device was opened or asked; any other errno is ``camera_unavailable``."""
    return camera_error(_CODES.get(error.errno or 0, "camera_unavailable"), f"{name}: {error.strerror}")
