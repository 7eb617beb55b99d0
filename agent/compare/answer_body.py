"""Limits of an answer's body whose parsing takes much time for few bytes.

The parser parses all that has arrived without a pause, so a hostile server could stop the event loop. httpx
has no limit for this. A body of a thousand small pieces and a trailer of any size are refused.
"""

import re

import httpx

_SMALL_BYTES, _SMALL_MAX = 256, 1_000  # pieces of one body
_HEAD_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/[0-9]\.[0-9] 1")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,20}")


class SmallPieces:
    """Counts the small pieces of one body."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, piece: bytes) -> None:
        """Raises ``httpx.RemoteProtocolError``: more than a thousand of them."""
        self._count += len(piece) < _SMALL_BYTES
        if self._count > _SMALL_MAX:
            raise httpx.RemoteProtocolError("a body in too many small pieces")


class ChunkedBody:
    """Follows the chunks of one body, before the parser receives the bytes, and refuses a trailer.

    The parser checks the form of the chunks. Bytes after the body have no effect here.
    """

    def __init__(self) -> None:
        self._chunk_left = 0  # bytes of the chunk and of the line end after it
        self._line = bytearray()  # the beginning of a line
        self._is_last = self._is_ended = False

    def feed(self, data: bytes) -> None:
        """Raises ``httpx.RemoteProtocolError``: a trailer, or no chunk."""
        at = 0
        while at < len(data) and not self._is_ended:
            if self._chunk_left:
                skipped = min(self._chunk_left, len(data) - at)
                self._chunk_left -= skipped
                at += skipped
                continue
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or len(data)]
            if not end:
                return
            at = end
            self._line_read()

    def _line_read(self) -> None:
        line, self._line = bytes(self._line), bytearray()
        if self._is_last:
            self._is_ended = True
            if line not in (b"\r\n", b"\n"):
                raise httpx.RemoteProtocolError("a body with a trailer")
            return
        size = _SIZE.match(line)
        if size is None:
            raise httpx.RemoteProtocolError("a chunk without a size")
        chunk_bytes = int(size[0], 16)
        self._is_last = chunk_bytes == 0
        self._chunk_left = chunk_bytes + len(b"\r\n") if chunk_bytes else 0


def after_head(received: bytes) -> bytes:
    """The bytes after the header of an answer and of its interim answers (1xx).

    Raises ``httpx.RemoteProtocolError``: no end of the header, so its begin was sent before the request.
    """
    at, is_interim = 0, True
    while is_interim:
        end = _HEAD_END.search(received, at)
        if end is None:
            raise httpx.RemoteProtocolError("the header of the answer was not received")
        is_interim = _INTERIM.match(received, at) is not None
        at = end.end()
    return received[at:]
