"""The test images: shipped photographs, images made without decoding a photograph, and a server for both."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from agent import resources

_COMMENT_MAX_BYTES = 65_000
_HEAD_TIMEOUT_S = 10
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Pictures:
    """``shot`` and ``reference`` show one person on two occasions, ``stranger`` and ``third`` two others.

    ``rotated``, ``png`` and ``bmp`` show the person of ``shot``; ``rotated`` has an EXIF orientation.
    """

    shot: bytes = field(repr=False)
    reference: bytes = field(repr=False)
    stranger: bytes = field(repr=False)
    third: bytes = field(repr=False)
    no_face: bytes = field(repr=False)
    rotated: bytes = field(repr=False)
    png: bytes = field(repr=False)
    bmp: bytes = field(repr=False)

    @classmethod
    def shipped(cls) -> Pictures:
        files = {name: resources.data(where).read_bytes() for name, where in FILES.items()}
        return cls(**files, bmp=_bmp(files["png"]))


FILES = {
    "shot": "photos/obama_podium.jpg",
    "reference": "photos/obama_portrait.jpg",
    "stranger": "photos/biden_portrait.jpg",
    "third": "photos/collins_portrait.jpg",
    "no_face": "photos/enrolled/no_face.jpg",
    "rotated": "conformance/lying.jpg",
    "png": "conformance/face.png",
}


def padded(jpeg: bytes, size: int) -> bytes:
    """The same image with comment segments, at least ``size`` bytes long."""
    comment = b"\xff\xfe" + struct.pack(">H", _COMMENT_MAX_BYTES + 2) + bytes(_COMMENT_MAX_BYTES)
    return jpeg[:2] + comment * -(-max(0, size - len(jpeg)) // len(comment)) + jpeg[2:]


def blank_png(width: int, height: int) -> bytes:
    """A valid black image."""
    return _png(width, height, zlib.compress(bytes((width + 1) * height), 9))


def bomb_png(width: int, height: int) -> bytes:
    """A small file with huge dimensions; decoding allocates the memory before it fails."""
    return _png(width, height, zlib.compress(bytes(9)))


def _png(width: int, height: int, pixels: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8 bit grey
    return _PNG_HEAD + _chunk(b"IHDR", head) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bmp(png: bytes) -> bytes:
    """The shipped PNG as a BMP: the PNG is RGB without filters, so only the byte order changes."""
    width, height = struct.unpack_from(">II", png, 16)
    length = struct.unpack_from(">I", png, 33)[0]
    raw = zlib.decompress(png[41 : 41 + length])
    rows = bytearray()
    fill = bytes(-3 * width % 4)
    for row in range(height - 1, -1, -1):  # the first row of a BMP is the bottom row
        at = row * (3 * width + 1) + 1
        line = bytearray(raw[at : at + 3 * width])
        line[0::3], line[2::3] = line[2::3], line[0::3]
        rows += line + fill
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 2_835, 2_835, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54 + len(rows), 0, 0, 54) + head + bytes(rows)


@contextlib.asynccontextmanager
async def served(pictures: Pictures) -> AsyncIterator[str]:
    """Serve ``/shot`` and ``/reference`` on a free loopback port; yields the url without a final slash."""
    files = {b"/shot": pictures.shot, b"/reference": pictures.reference}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            async with asyncio.timeout(_HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            image = files.get(head.split(b" ")[1])
            status, body = (b"404 Not Found", b"") if image is None else (b"200 OK", image)
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n" % (status, len(body)))
            writer.write(b"Content-Type: image/jpeg\r\nConnection: close\r\n\r\n" + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
