"""What lies in a camera's buffer, as a picture. Rows are padded to the stride there; no view is kept here.

Formats by libcamera's names, which name the bytes of a little-endian word: "RGB888" is B,G,R in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.errors import CameraError
from agent.texts import Text

Pixels = NDArray[np.uint8]

_YUV = {"YUV420": cv2.COLOR_YUV2BGR_I420, "YVU420": cv2.COLOR_YUV2BGR_YV12, "NV12": cv2.COLOR_YUV2BGR_NV12}
FORMATS = ("RGB888", "BGR888", "XRGB8888", "XBGR8888", *_YUV)


@dataclass(frozen=True, slots=True)
class Layout:
    """How one stream's buffer is laid out."""

    format: str
    width_px: int
    height_px: int
    stride_bytes: int  # from one row to the next; for planar formats that of the luma plane

    @property
    def frame_bytes(self) -> int:
        """What a picture takes in the buffer, which may be longer."""
        rows = self.height_px * 3 // 2 if self.format in _YUV else self.height_px
        return rows * self.stride_bytes


def checked(layout: Layout) -> Layout:
    """The layout, when pictures can be made of it.

    Raises:
        CameraError: a format nobody here reads, an odd size of a format in halves, or rows that overlap.
    """
    per_pixel = 1 if layout.format in _YUV else 4 if layout.format.startswith("X") else 3
    if layout.format not in FORMATS:
        raise CameraError(
            f"the camera gives {layout.format}, which is none of {', '.join(FORMATS)}",
            fix=Text("fix.use_v4l2_for_usb"),
        )
    halves = layout.format in _YUV and (
        layout.width_px % 2 or layout.height_px % 2 or layout.stride_bytes % 2
    )
    if halves or min(layout.width_px, layout.height_px) < 2:
        raise CameraError(f"the camera gives {layout.format} of {layout.width_px}×{layout.height_px} pixels")
    if layout.stride_bytes < layout.width_px * per_pixel:
        raise CameraError(f"rows of {layout.width_px} pixels in {layout.stride_bytes} bytes overlap")
    return layout


def bgr(buffer: NDArray[np.uint8], layout: Layout) -> Pixels:
    """A picture of its own, safe to keep when the buffer goes back to the camera.

    Args:
        buffer: one-dimensional, the mapped memory; may be longer than the picture.
        layout: a checked one.
    Returns:
        (height_px, width_px, 3) uint8, B,G,R, contiguous.
    Raises:
        CameraError: the buffer is shorter than the layout says.
    """
    wide, high, stride = layout.width_px, layout.height_px, layout.stride_bytes
    if buffer.size < layout.frame_bytes:
        raise CameraError(f"a buffer of {buffer.size} bytes holds no {layout.format} of {wide}×{high} pixels")
    rows = buffer[: layout.frame_bytes].reshape(-1, stride)
    if layout.format in _YUV:
        # The padding is part of the picture while it is converted: chroma rows are as long as luma rows or
        # half of it, so the padded buffer is a regular picture of stride × height, whose right edge goes.
        whole = cv2.cvtColor(rows, _YUV[layout.format])
        return np.ascontiguousarray(whole[:, :wide], dtype=np.uint8)
    channels = 4 if layout.format.startswith("X") else 3
    packed = rows[:, : wide * channels].reshape(high, wide, channels)
    if layout.format == "RGB888":
        return np.array(packed, dtype=np.uint8, order="C", copy=True)
    turned = packed[:, :, :3] if layout.format == "XRGB8888" else packed[:, :, 2::-1]
    return np.array(turned, dtype=np.uint8, order="C", copy=True)
