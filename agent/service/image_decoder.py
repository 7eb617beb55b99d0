"""Decoder of images. Format and size are checked in the header, before decoding."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.compare.contract import IMAGE_MAX_PX, ApiFailure, picture_format

Pixels = NDArray[np.uint8]

_EMPTY, _UNDECODABLE, _BAD_FORMAT = -1300, -1102, -1400
_SCANS_MAX = 64  # a progressive JPEG may repeat scans without limit; each scan costs a full pass
_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})


def decode(data: bytes) -> Pixels:
    """Decode to (H, W, 3) uint8 BGR, upright by the EXIF orientation, at most 4000 px per side.

    Raises:
        ApiFailure: -1300 empty; -1400 not JPEG, PNG or BMP, or too large; -1102 not decodable.
    """
    if not data:
        raise ApiFailure(_EMPTY)
    wide, high = size_px(data)
    if max(wide, high) > IMAGE_MAX_PX:
        raise ApiFailure(_BAD_FORMAT, f"{wide}x{high} is over {IMAGE_MAX_PX} px")
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > _SCANS_MAX:
        raise ApiFailure(_UNDECODABLE, "too many scans")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ApiFailure(_UNDECODABLE) from error
    if pixels is None or sorted(pixels.shape[:2]) != sorted((wide, high)):
        raise ApiFailure(_UNDECODABLE)
    return np.asarray(pixels, np.uint8)


def size_px(data: bytes) -> tuple[int, int]:
    """(width, height) from the header alone. Raises ``ApiFailure`` -1400 (format) or -1102 (header)."""
    match picture_format(data):
        case "png":
            size = _png(data)
        case "bmp":
            size = _bmp(data)
        case "jpeg":
            size = _jpeg(data)
        case None:
            raise ApiFailure(_BAD_FORMAT)
    if size is None or min(size) < 1:
        raise ApiFailure(_UNDECODABLE, "no size in the header")
    return size


def _png(data: bytes) -> tuple[int, int] | None:
    if data[12:16] != b"IHDR" or len(data) < 24:
        return None
    wide, high = struct.unpack_from(">II", data, 16)
    return wide, high


def _bmp(data: bytes) -> tuple[int, int] | None:
    if len(data) < 26:
        return None
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the OS/2 header has 16-bit sizes
        wide, high = struct.unpack_from("<HH", data, 18)
    else:
        wide, high = struct.unpack_from("<ii", data, 18)
    return wide, abs(high)  # a negative height means: top row first


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """Walk the segments to the frame header. Every step moves forward, so the walk ends."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _STANDALONE_MARKERS:
            at += 2
        elif marker in _SOF_MARKERS:
            if at + 9 > len(data):
                return None
            high, wide = struct.unpack_from(">HH", data, at + 5)
            return wide, high
        else:
            at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
    return None
