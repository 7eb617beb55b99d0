"""Test images: the shipped photographs and generated images."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

from agent import resources
from agent.service.image_decoder import decode


def photo(name: str) -> bytes:
    return (resources.data("photos") / f"{name}.jpg").read_bytes()


def plain(wide: int, high: int, kind: str = ".png") -> bytes:
    """A uniform grey image without a face."""
    return cv2.imencode(kind, np.full((high, wide, 3), 128, np.uint8))[1].tobytes()


def bomb_png(wide: int, high: int) -> bytes:
    """A small PNG with a huge size in its header."""
    head = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 9))
        + chunk(b"IEND", b"")
    )


def turned(jpeg: bytes, orientation: int) -> bytes:
    """The same JPEG with an EXIF orientation; 6: rotate clockwise to display upright."""
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def lying(jpeg: bytes) -> bytes:
    """The same image, stored rotated by 90° counterclockwise."""
    upright = decode(jpeg)
    return cv2.imencode(".jpg", cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE))[1].tobytes()


def scan_for_each_colour(wide: int, high: int) -> bytes:
    """A sequential JPEG of 800 bytes and any size, 4:4:4, whose decoder must hold all coefficients."""
    no_subsampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    data = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8), no_subsampling)[1].tobytes()
    picture, at = bytearray(data[:2]), 2
    while (marker := data[at + 1]) != 0xDA:
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        segment = bytearray(data[at:end])
        if marker == 0xC0:
            struct.pack_into(">HH", segment, 5, high, wide)
        picture += segment
        at = end
    for colour, tables in ((1, 0x00), (2, 0x11), (3, 0x11)):
        picture += b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, colour, tables, 0, 63, 0) + bytes(20)
    return bytes(picture + b"\xff\xd9")
