"""V4L2 devices as the kernel reports them: names, cameras, and whether a camera is free. Sets nothing."""

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from agent.camera.errors import camera_error, from_os_error
from agent.errors import CameraError
from agent.health.conditions_camera import CAMERA_ABSENT, CAMERA_DENIED, CAMERA_UNAVAILABLE
from agent.health.video_names import stable_name
from agent.texts import Text

# linux/videodev2.h
_QUERYCAP, _CAPABILITY = 0x80685600, struct.Struct("16s32s32sIII12x")
_REQBUFS, _NO_BUFFERS = 0xC0145608, struct.pack("5I", 0, 1, 1, 0, 0)  # of video capture, by mmap
_CAPTURES, _STREAMS = 0x0000_0001, 0x0400_0000


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """A device that captures video."""

    name: str  # the name for the config: /dev/v4l/… where udev makes such a link
    card: str
    is_usb: bool


class Devices:
    """The machine's V4L2 devices. ``root``: the folder with ``dev`` and ``sys``."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._dev = root / "dev"

    def examine(self, name: str) -> VideoDevice:
        """Open the device, query it and close it.

        Raises:
            CameraError: camera_absent, camera_denied, camera_busy (another program streams from it), or
                camera_unavailable: no device that captures video.
        """
        return _examine(name, must_be_free=True)

    def only_camera(self) -> str:
        """The name of the only camera.

        Raises:
            CameraError: camera_absent; camera_denied; several cameras, all named.
        """
        cameras = self.cameras()
        if len(cameras) > 1:
            names = ", ".join(f"{device.name} ({device.card})" for device in cameras)
            why, fix = Text("detail.several_cameras", names=names), Text("fix.several_cameras")
            raise camera_error(CAMERA_UNAVAILABLE, why, fix=fix)
        return cameras[0].name

    def cameras(self) -> list[VideoDevice]:
        """The USB cameras; without one, all other capture devices: a Pi has a dozen of them. Never empty.

        Raises:
            CameraError: camera_absent; camera_denied.
        """
        devices, denied = [], None
        for path in sorted(self._dev.glob("video[0-9]*")):
            try:
                devices.append(_examine(str(stable_name(self._root, path))))
            except CameraError as error:
                denied = error if error.code == CAMERA_DENIED.code else denied
        if not devices:
            raise denied or camera_error(CAMERA_ABSENT, Text("detail.no_camera_under", folder=self._dev))
        return [device for device in devices if device.is_usb] or devices


def _examine(name: str, *, must_be_free: bool = False) -> VideoDevice:
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            answer = fcntl.ioctl(descriptor, _QUERYCAP, bytes(_CAPABILITY.size))
            _driver, card, bus, _version, _all, capabilities = _CAPABILITY.unpack(answer)
            if not capabilities & _CAPTURES or not capabilities & _STREAMS:
                why = Text("detail.not_a_camera", name=name, card=_text(card))
                raise camera_error(CAMERA_UNAVAILABLE, why, fix=Text("fix.source_not_a_camera"))
            if must_be_free:  # the driver returns EBUSY while another program streams
                fcntl.ioctl(descriptor, _REQBUFS, _NO_BUFFERS)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise from_os_error(name, error) from error
    return VideoDevice(name, _text(card), _text(bus).startswith("usb-"))


def _text(raw: bytes) -> str:
    """Text up to the first zero, without control characters: a device can report any name."""
    name = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in name)
