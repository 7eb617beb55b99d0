"""Import of picamera2, and construction of its camera object so that a failure leaves nothing open."""

import logging
import os
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.camera.picamera import errors
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Library:
    """The two classes of picamera2 in use."""

    camera: Any  # Picamera2
    mapped: Any  # MappedArray


def import_library() -> Library:
    """The installed picamera2. Raises ``ImportError``."""
    sys.modules.setdefault("kms", _NoDisplay("kms"))
    from picamera2 import MappedArray, Picamera2

    return Library(Picamera2, MappedArray)


class _NoDisplay(types.ModuleType):
    """A replacement of python3-kms++, which picamera2 imports for preview windows and Debian lacks."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def construct_camera(library: Library, source: str) -> Any:
    """The opened camera, not configured. Raises ``CameraError`` and exceptions of picamera2."""
    number = camera_index(library.camera.global_camera_info(), source)
    camera = library.camera.__new__(library.camera)  # so that a failed __init__ leaves an object to close
    try:
        camera.__init__(number)
    except BaseException:
        close_half_open(camera)
        raise
    return camera


def camera_index(listed: Sequence[Mapping[str, Any]], source: str) -> int:
    """Index in picamera2's list of the first camera, or of the camera with this number, model or id.

    Raises ``CameraError``: an empty list, or no such camera.
    """
    if not listed:
        raise errors.absent_camera(Text("detail.libcamera_empty"))
    for number, camera in enumerate(listed):
        if source in ("", str(number), camera.get("Model"), camera.get("Id")):
            return number
    names = ", ".join(f"{number} ({camera.get('Model')})" for number, camera in enumerate(listed))
    why = Text("detail.libcamera_other", source=source, names=names)
    raise errors.absent_camera(why, Text("fix.camera_source_unknown"))


def close_half_open(camera: Any) -> None:
    """Close a camera whose constructor or configuration failed."""
    try:
        if camera.is_open:
            camera.close()
        else:
            camera.notifymeread.close()
            os.close(camera.notifyme_w)
    except errors.FOREIGN as error:
        log.warning("camera_half_open", extra=facts(why=error))
