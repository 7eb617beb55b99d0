"""Camera errors with the codes of the health conditions: one code and one fix in logs, state and doctor."""

import errno

from agent.errors import CameraError, Retry, failure_at
from agent.health.condition import Condition
from agent.health.conditions_camera import CAMERA_ABSENT, CAMERA_BUSY, CAMERA_DENIED, CAMERA_UNAVAILABLE
from agent.texts import Text

_CONDITIONS = {
    errno.ENOENT: CAMERA_ABSENT,
    errno.ENODEV: CAMERA_ABSENT,
    errno.ENXIO: CAMERA_ABSENT,
    errno.EBUSY: CAMERA_BUSY,
    errno.EACCES: CAMERA_DENIED,
    errno.EPERM: CAMERA_DENIED,  # the device policy of a systemd unit
}


def camera_error(
    condition: Condition, message: str | Text, *, fix: Text | None = None, retry: Retry = Retry.BACKOFF
) -> CameraError:
    """A ``CameraError`` with the code of ``condition``. Without ``fix``, the fix of ``condition``."""
    return CameraError(message, code=condition.code, fix=fix or condition.fix, retry=retry)


def from_os_error(name: str, error: OSError) -> CameraError:
    """The error for an ``OSError`` of device ``name``; an unlisted errno is ``camera_unavailable``."""
    return camera_error(_CONDITIONS.get(error.errno or 0, CAMERA_UNAVAILABLE), failure_at(name, error))
