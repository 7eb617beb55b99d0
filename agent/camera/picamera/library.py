"""picamera2 itself: where it comes from, and a camera of it, opened so that a failure leaves nothing open."""

from __future__ import annotations

import logging
import os
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.camera.picamera import errors
from agent.log import facts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Library:
    """The two classes of picamera2 that are used."""

    camera: Any  # Picamera2
    mapped: Any  # MappedArray


def installed() -> Library:
    """picamera2 of this machine. Raises ImportError."""
    sys.modules.setdefault("kms", _NoDisplay("kms"))
    from picamera2 import MappedArray, Picamera2

    return Library(Picamera2, MappedArray)


class _NoDisplay(types.ModuleType):
    """In the place of python3-kms++: picamera2 imports it for preview windows, and Debian has none."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def constructed(library: Library, source: str) -> Any:
    """The camera, opened, not configured. Raises ``CameraError`` and whatever picamera2 raises."""
    number = number_of(library.camera.global_camera_info(), source)
    camera = library.camera.__new__(library.camera)  # so that there is something to close when this fails:
    try:
        camera.__init__(number)
    except BaseException:
        drop(camera)
        raise
    return camera


def number_of(listed: Sequence[Mapping[str, Any]], source: str) -> int:
    """Which of picamera2's list: the first, or the one with that number, model or id."""
    if not listed:
        raise errors.absent("libcamera finds no camera")
    for number, camera in enumerate(listed):
        if source in ("", str(number), camera.get("Model"), camera.get("Id")):
            return number
    names = ", ".join(f"{number} ({camera.get('Model')})" for number, camera in enumerate(listed))
    raise errors.absent(f"libcamera finds no camera {source!r}, but {names}", "source")


def drop(camera: Any) -> None:
    """What a constructor that raised left open."""
    try:
        if camera.is_open:
            camera.close()
        else:
            camera.notifymeread.close()
            os.close(camera.notifyme_w)
    except errors.FOREIGN as error:
        log.warning("camera_half_open", extra=facts(why=error))
