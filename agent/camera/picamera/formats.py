"""Conversion of a camera buffer to a B,G,R picture. Buffer rows are padded to the stride; no view is kept.

Formats have libcamera's names, which name the bytes of a little-endian word: "RGB888" is B,G,R in memory.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from agent.camera.fitting import Pixels
from agent.errors import CameraError
from agent.texts import Text

_YUV = {"YUV420": cv2.COLOR_YUV2BGR_I420, "YVU420": cv2.COLOR_YUV2BGR_YV12, "NV12": cv2.COLOR_YUV2BGR_NV12}
FORMATS = ("RGB888", "BGR888", "XRGB8888", "XBGR8888", *_YUV)


@dataclass(frozen=True, slots=True)
class Layout:
    """The memory layout of one stream's buffer."""

    format: str
    width_px: int
    height_px: int
    stride_bytes: int  # from one row to the next; for planar formats of the luma plane

    @property
    def frame_bytes(self) -> int:
        """Size of one picture; the buffer may be longer."""
        rows = self.height_px * 3 // 2 if self.format in _YUV else self.height_px
        return rows * self.stride_bytes


def check_layout(layout: Layout) -> Layout:
    """The same layout, when it can be converted.

    Raises:
        CameraError: unknown format, an odd size of a format with half-size chroma, or overlapping rows.
    """
    per_pixel = 1 if layout.format in _YUV else 4 if layout.format.startswith("X") else 3
    if layout.format not in FORMATS:
        why = Text("detail.camera_format", format=layout.format, known=", ".join(FORMATS))
        raise CameraError(why, fix=Text("fix.use_v4l2_for_usb"))
    width, height, stride = layout.width_px, layout.height_px, layout.stride_bytes
    has_odd_chroma = layout.format in _YUV and (width % 2 or height % 2 or stride % 2)
    if has_odd_chroma or min(width, height) < 2:
        raise CameraError(Text("detail.camera_size", format=layout.format, wide=width, high=height))
    if stride < width * per_pixel:
        raise CameraError(Text("detail.camera_rows", wide=width, stride=stride))
    return layout


def to_bgr(buffer: Pixels, layout: Layout) -> Pixels:
    """A copy of the picture, valid after the buffer has gone back to the camera.

    Args:
        buffer: one-dimensional, the mapped memory; may be longer than the picture.
        layout: a layout that ``check_layout`` has returned.
    Returns:
        (height_px, width_px, 3) uint8, B,G,R, contiguous.
    Raises:
        CameraError: the buffer is shorter than ``layout.frame_bytes``.
    """
    width, height, stride = layout.width_px, layout.height_px, layout.stride_bytes
    if buffer.size < layout.frame_bytes:
        raise CameraError(
            Text("detail.camera_buffer", size=buffer.size, format=layout.format, wide=width, high=height)
        )
    rows = buffer[: layout.frame_bytes].reshape(-1, stride)
    if layout.format in _YUV:
        # The conversion includes the padding: chroma rows are as long as luma rows or half as long, so the
        # padded buffer is a regular picture of stride × height. The right edge is cut off afterwards.
        padded = cv2.cvtColor(rows, _YUV[layout.format])
        return np.ascontiguousarray(padded[:, :width], dtype=np.uint8)
    channels = 4 if layout.format.startswith("X") else 3
    packed = rows[:, : width * channels].reshape(height, width, channels)
    bgr = packed[:, :, :3] if layout.format in ("RGB888", "XRGB8888") else packed[:, :, 2::-1]
    return np.array(bgr, dtype=np.uint8, order="C", copy=True)
