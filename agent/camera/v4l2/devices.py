"""V4L2 devices as the kernel tells of them: which are cameras, and is one free? Nothing is set."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.camera.errors import camera_error, refused_by_kernel
from agent.errors import CameraError
from agent.health.conditions_camera import CAMERA_ABSENT, CAMERA_DENIED, CAMERA_UNAVAILABLE
from agent.texts import Text

# linux/videodev2.h
_QUERYCAP, _CAPABILITY = 0x80685600, struct.Struct("16s32s32sIII12x")
_REQBUFS, _NO_BUFFERS = 0xC0145608, struct.pack("5I", 0, 1, 1, 0, 0)  # of video capture, by mmap
_CAPTURES, _STREAMS = 0x0000_0001, 0x0400_0000


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """A device that captures video."""

    name: str  # the one to write into the config: /dev/v4l/by-id/… where there is one
    card: str
    usb: bool


class Devices:
    """The machine's V4L2 devices. ``root``: where /dev is."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._dev = root / "dev"

    def examine(self, name: str) -> VideoDevice:
        """Open it for a moment and ask.

        Raises:
            CameraError: camera_absent, camera_denied, camera_busy (another program streams from it), or
                camera_unavailable: not something that captures video.
        """
        return _look(name, _is_free)

    def only(self) -> str:
        """The name of the one camera there is. USB cameras come first: a Pi has a dozen of other devices.

        Raises:
            CameraError: camera_absent; camera_denied; several, all named.
        """
        found, denied = [], None
        for name in self._names():
            try:
                found.append(_look(name))
            except CameraError as error:
                denied = error if error.code == CAMERA_DENIED.code else denied
        found = [device for device in found if device.usb] or found
        if len(found) > 1:
            names = ", ".join(f"{device.name} ({device.card})" for device in found)
            raise camera_error(
                CAMERA_UNAVAILABLE,
                f"several cameras: {names}",
                fix=Text("fix.several_cameras"),
            )
        if not found:
            raise denied or camera_error(CAMERA_ABSENT, f"no camera under {self._dev}")
        return found[0].name

    def _names(self) -> list[str]:
        """Each device once, under its stable name where udev made one."""
        stable = {path.resolve(): path for path in sorted((self._dev / "v4l/by-id").glob("*"))}
        return [str(stable.get(path.resolve(), path)) for path in sorted(self._dev.glob("video[0-9]*"))]


def _look(name: str, more: Callable[[int], None] = lambda _descriptor: None) -> VideoDevice:
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            device = _ask(descriptor, name)
            more(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise refused_by_kernel(name, error) from error
    return device


def _is_free(descriptor: int) -> None:
    """Give back buffers, of which we have none: refused (EBUSY) while another program streams."""
    fcntl.ioctl(descriptor, _REQBUFS, _NO_BUFFERS)


def _ask(descriptor: int, name: str) -> VideoDevice:
    answer = fcntl.ioctl(descriptor, _QUERYCAP, bytes(_CAPABILITY.size))
    _driver, card, bus, _version, _all, can = _CAPABILITY.unpack(answer)
    if not can & _CAPTURES or not can & _STREAMS:
        raise camera_error(
            CAMERA_UNAVAILABLE,
            f"{name}: not a camera ({_text(card)})",
            fix=Text("fix.source_not_a_camera"),
        )
    return VideoDevice(name, _text(card), _text(bus).startswith("usb-"))


def _text(raw: bytes) -> str:
    """Up to the first zero; a device may call itself anything, so no control characters."""
    words = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in words)
