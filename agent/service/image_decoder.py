"""Decoder of images. Format, lengths, size and cost are checked in the header, before decoding."""

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.compare.contract import ApiFailure
from agent.service.causes import Cause
from agent.service.image_header import Image, inspect

Pixels = NDArray[np.uint8]

_EMPTY, _UNDECODABLE = -1300, -1102
_END = b"\xff\xd9"
# Appended to the data of a JPEG without an end marker. After complete data, the decoder ignores these bytes.
# Within unfinished data, the decoder reads them as Huffman codes, and the pixels differ from those with the
# zero bits that it adds by itself. No byte is 0xFF, which would begin a marker.
_OTHER_BYTES = bytes((number * 73 + 0x5B) % 255 for number in range(256))
_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def decode(data: bytes | bytearray) -> Pixels:
    """Decode to (H, W, 3) uint8 BGR, upright by the EXIF orientation, at most 4000 px per side.

    A JPEG of more than 4000 px per side is decoded at a half, a quarter or an eighth of its size.

    Raises:
        ApiFailure: -1300 empty; -1400 not JPEG, PNG or BMP, or too large; -1102 not decodable.
    """
    return decode_inspected(inspected(data))


def inspected(data: bytes | bytearray) -> Image:
    """The checked header. Raises ``ApiFailure`` -1300, -1400 or -1102."""
    if not data:
        raise ApiFailure(_EMPTY)
    return inspect(data)


def decode_inspected(image: Image) -> Pixels:
    """As ``decode``, for a checked header. Raises ``ApiFailure`` -1102."""
    if not image.needs_end:
        return _decode(image, image.data)
    # Some senders cut the last two bytes. The decoder fills missing rows without an error, and the grey rows
    # of half a picture must not be compared. Complete data ignores what follows, so both results are equal.
    # Compared by their hash: two pictures at once would need 50 MB more.
    other_digest = hashlib.sha256(_decode(image, b"".join((image.data, _OTHER_BYTES, _END))).data).digest()
    pixels = _decode(image, b"".join((image.data, _END)))
    if hashlib.sha256(pixels.data).digest() != other_digest:
        raise ApiFailure(_UNDECODABLE, "the picture is not complete", cause=Cause.UNFINISHED)
    return pixels


def _decode(image: Image, data: bytes | bytearray | memoryview) -> Pixels:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS[image.scale])
    except cv2.error as error:
        raise ApiFailure(_UNDECODABLE, "the decoder failed", cause=Cause.DECODER) from error
    size = sorted(-(-side // image.scale) for side in (image.width, image.height))
    if pixels is None or sorted(pixels.shape[:2]) != size:
        raise ApiFailure(_UNDECODABLE, "the decoder failed", cause=Cause.DECODER)
    return np.asarray(pixels, np.uint8)
