"""Headers of pictures: size, cost, and the bytes of the picture alone. Pure; nothing is decoded here.

Every declared length is compared with the bytes at hand, because a decoder allocates what a header declares:
41 bytes of PNG with a chunk of 4 GB made OpenCV allocate 4.4 GB. What is not part of the picture does not
reach the decoder: data after the end, which phones append, and PNG chunks that hold packed text or profiles.
"""

import re
import struct
from dataclasses import dataclass, field

from agent.compare.contract import IMAGE_MAX_PX, ApiFailure, picture_format
from agent.service.causes import Cause

_UNDECODABLE, _BAD_FORMAT = -1102, -1400
JPEG_MAX_PX = 8_192  # long side; a larger JPEG than IMAGE_MAX_PX is decoded at 1/2, 1/4 or 1/8 of its size
JPEG_MAX_AREA_PX = 52_000_000
_SCANS_MAX = 64  # a progressive JPEG may repeat scans without limit; each scan costs a full pass
_MARKERS_MAX = 1_000  # of a JPEG, without those in its scans. Cameras write less than 100
_CHUNKS_MAX = 20_000  # of a PNG. Writers put 8 kB or more into a chunk
_COST_MAX_BYTES = 160_000_000  # of the decoder; equal to memory_budget.DECODE_MAX_BYTES
_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_SOS, _EOI, _DRI = 0xDA, 0xD9, 0xDD
_RESTART_MARKERS = [bytes((0xFF, low)) for low in range(0xD0, 0xD8)]
_MARKER = re.compile(rb"\xff+([^\xff])", re.DOTALL)  # with fill bytes in front
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # after entropy-coded data
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"})
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_UNKNOWN_COUNT = 1 << 32
_PIECE_BYTES = 65_536
_PIXEL_BYTES = 3  # of the result


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that may be decoded. ``scale``: decode at 1/1, 1/2, 1/4 or 1/8 of the size."""

    data: bytes | bytearray | memoryview = field(repr=False)
    width: int
    height: int
    cost_bytes: int  # of the decoder and its result
    scale: int = 1
    needs_end: bool = False  # a JPEG without its last marker: whether the data is complete is unknown


def inspect(data: bytes | bytearray) -> Image:
    """Inspect the header.

    Raises:
        ApiFailure: -1400 not JPEG, PNG or BMP, or too large; -1102 no size, a length beyond the data, or
            too many scans.
    """
    match picture_format(bytes(data[:8])):
        case "png":
            image = _png(data)
        case "bmp":
            image = _bmp(data)
        case "jpeg":
            image = _jpeg(data)
        case None:
            raise ApiFailure(_BAD_FORMAT, "not JPEG, PNG or BMP", cause=Cause.FORMAT)
    if image.cost_bytes > _COST_MAX_BYTES:
        raise _too_large(image.width, image.height)
    return image


def _check_size(width: int, height: int, side_max_px: int) -> None:
    if min(width, height) < 1:
        raise _undecodable("no size in the header", Cause.HEADER)
    if max(width, height) > side_max_px:
        raise _too_large(width, height)


def _undecodable(why: str, cause: Cause) -> ApiFailure:
    return ApiFailure(_UNDECODABLE, why, cause=cause)


def _too_large(width: int, height: int) -> ApiFailure:
    return ApiFailure(_BAD_FORMAT, f"{width}x{height} px is too large", cause=Cause.SIZE)


# --- PNG -------------------------------------------------------------------------------------------


def _png(data: bytes | bytearray) -> Image:
    if len(data) < 33 or data[8:16] != b"\0\0\0\rIHDR":
        raise _undecodable("no PNG header", Cause.HEADER)
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    _check_size(width, height, IMAGE_MAX_PX)
    samples = _PNG_SAMPLES.get(colour)
    if samples is None or depth not in (1, 2, 4, 8, 16) or interlaced > 1:
        raise _undecodable("unknown PNG colour type", Cause.HEADER)
    row_bytes = (width * samples * depth + 7) // 8
    # the result, a copy with an alpha channel, and the whole of an interlaced picture
    cost = width * height * (_PIXEL_BYTES + 4) + row_bytes * (height if interlaced else 4)
    return Image(_png_chunks(data), width, height, cost)


def _png_chunks(data: bytes | bytearray) -> bytes | bytearray:
    """The PNG with its necessary chunks only. Each declared length lies within the data."""
    chunks, position, is_whole = [bytes(data[:8])], 8, True
    for _ in range(_CHUNKS_MAX):
        if position + 8 > len(data):
            raise _undecodable("PNG without its end", Cause.UNFINISHED)
        (chunk_bytes,) = struct.unpack_from(">I", data, position)
        kind = bytes(data[position + 4 : position + 8])
        end = position + 12 + chunk_bytes
        if end > len(data):
            raise _undecodable("a PNG chunk is longer than the data", Cause.LENGTH)
        if kind in _PNG_KEPT:
            chunks.append(bytes(memoryview(data)[position:end]))
        else:
            is_whole = False
        position = end
        if kind == b"IEND":
            return data if is_whole and position == len(data) else b"".join(chunks)
    raise _undecodable("too many PNG chunks", Cause.HEADER)


# --- BMP -------------------------------------------------------------------------------------------


def _bmp(data: bytes | bytearray) -> Image:
    if len(data) < 26:
        raise _undecodable("no BMP header", Cause.HEADER)
    offset, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes == 12:  # the OS/2 header has 16-bit sizes
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
        packing = colours = 0
    elif 40 <= header_bytes <= 124 and len(data) >= 54:
        width, height, _, depth, packing = struct.unpack_from("<iiHHI", data, 18)
        (colours,) = struct.unpack_from("<I", data, 46)
        height = abs(height)  # a negative height means: top row first
    else:
        raise _undecodable("unknown BMP header", Cause.HEADER)
    _check_size(width, height, IMAGE_MAX_PX)
    if depth not in (1, 4, 8, 16, 24, 32) or colours > 256:
        raise _undecodable("unknown BMP colours", Cause.HEADER)
    row_bytes = (width * depth + 31) // 32 * 4
    is_packed = packing in (1, 2)  # run lengths: every size is possible
    if not 14 + header_bytes <= offset <= len(data) or (
        not is_packed and offset + row_bytes * height > len(data)
    ):
        raise _undecodable("the BMP pixels are longer than the data", Cause.LENGTH)
    return Image(data, width, height, width * height * (_PIXEL_BYTES + 4))


# --- JPEG ------------------------------------------------------------------------------------------


def _jpeg(data: bytes | bytearray) -> Image:
    """Walk the segments to the last marker. Every step moves forward, so the walk ends."""
    pos, scans, frame, interval, restarts, scan_components, markers = 2, 0, None, 0, 0, 0, 0
    while (found := _next_marker(data, pos)) is not None:
        marker, pos = found
        markers += 1
        if markers > _MARKERS_MAX:
            raise _undecodable("too many JPEG markers", Cause.HEADER)
        if marker == _EOI:
            break
        if marker in _STANDALONE_MARKERS:
            continue
        if pos + 2 > len(data) or pos + (size := max(2, struct.unpack_from(">H", data, pos)[0])) > len(data):
            raise _undecodable("a JPEG segment is longer than the data", Cause.LENGTH)
        if marker in _SOF_MARKERS:
            if frame is not None or size < 8:
                raise _undecodable("not one JPEG frame", Cause.HEADER)
            frame = (marker, bytes(data[pos : pos + size]))
        if marker == _DRI and size == 4:
            (interval,) = struct.unpack_from(">H", data, pos + 2)
        pos += size
        if marker == _SOS:
            scans += 1
            scan_components = scan_components or (data[pos - size + 2] if size > 2 else 0)
            if scans > _SCANS_MAX:
                raise _undecodable("too many scans", Cause.SCANS)
            end_of_scan = _NEXT_MARKER.search(data, pos)
            scan_start, pos = pos, len(data) if end_of_scan is None else end_of_scan.start()
            restarts = sum(data.count(mark, scan_start, pos) for mark in _RESTART_MARKERS) if interval else 0
    if frame is None:
        raise _undecodable("no size in the header", Cause.HEADER)
    if scans == 0:
        raise _undecodable("JPEG without a picture", Cause.UNFINISHED)
    is_ended = data[pos - 2 : pos] == b"\xff\xd9"
    if not is_ended:
        pos = _without_fill(data, pos)  # also without half a marker
    if not is_ended and interval and (scans > 1 or restarts < _expected_restarts(*frame, interval)):
        raise _undecodable("rows of the picture are missing", Cause.UNFINISHED)
    is_buffered = frame[0] not in _SEQUENTIAL or scans > 1 or scan_components < frame[1][7]
    return _image_of_frame(memoryview(data)[:pos], frame[1], is_buffered=is_buffered, needs_end=not is_ended)


def _next_marker(data: bytes | bytearray, position: int) -> tuple[int, int] | None:
    """The marker at ``position`` and the position after it; None at the end of the data."""
    match = _MARKER.match(data, position)
    if match is not None:
        return data[match.end() - 1], match.end()
    if position + 1 < len(data) and data[position] != 0xFF:
        raise _undecodable("no JPEG marker where one is due", Cause.HEADER)
    return None


def _without_fill(data: bytes | bytearray, end: int) -> int:
    """The end of ``data[:end]`` without the fill bytes there, found in pieces: without a copy of the data."""
    while end:
        start = max(0, end - _PIECE_BYTES)
        if piece := bytes(data[start:end]).rstrip(b"\xff"):
            return start + len(piece)
        end = start
    return 0


def _expected_restarts(marker: int, frame: bytes, interval: int) -> int:
    """Restart markers in the one scan of a whole sequential picture."""
    height, width, components = struct.unpack_from(">HHB", frame, 3)
    if marker not in _SEQUENTIAL or len(frame) < 8 + 3 * components:
        return _UNKNOWN_COUNT
    h_factor = max((frame[position + 1] >> 4 for position in range(8, 8 + 3 * components, 3)), default=1) or 1
    v_factor = max((frame[position + 1] & 15 for position in range(8, 8 + 3 * components, 3)), default=1) or 1
    if components == 1:
        h_factor = v_factor = 1
    blocks: int = -(-width // (8 * h_factor)) * -(-height // (8 * v_factor))
    return -(-blocks // interval) - 1


def _image_of_frame(data: memoryview, frame: bytes, *, is_buffered: bool, needs_end: bool) -> Image:
    height, width, components = struct.unpack_from(">HHB", frame, 3)
    _check_size(width, height, JPEG_MAX_PX)
    if width * height > JPEG_MAX_AREA_PX:
        raise _too_large(width, height)
    sampling = [frame[position + 1] for position in range(8, min(len(frame) - 2, 8 + 3 * components), 3)]
    are_known = all(0 < factors >> 4 <= 4 and 0 < factors & 15 <= 4 for factors in sampling)
    if not 1 <= len(sampling) == components <= 4 or not are_known:
        raise _undecodable("unknown JPEG components", Cause.HEADER)
    scale = next(divisor for divisor in (1, 2, 4, 8) if max(width, height) <= IMAGE_MAX_PX * divisor)
    cost = 2 * (width // scale + 1) * (height // scale + 1) * _PIXEL_BYTES  # OpenCV copies its result
    # the decoder holds all coefficients at full size, 16 bits each: progressive, or a scan for each colour
    if is_buffered:
        h_factor, v_factor = max(f >> 4 for f in sampling), max(f & 15 for f in sampling)
        share = sum((factors >> 4) * (factors & 15) for factors in sampling) / (h_factor * v_factor)
        cost += round(width * height * share * 2)
    return Image(data, width, height, cost, scale, needs_end)
