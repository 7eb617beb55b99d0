"""Parser of request bodies. Only the *names* of fields count.

Real clients give text parts a file name, give images no media type, and send parts in any order.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from agent.compare.contract import APPID, BUCKET, IMAGE_FIELDS, URL_FIELDS, URL_MAX_CHARS, ApiFailure

_INVALID, _TOO_LARGE, _EMPTY, _TOO_LONG = 21, 23, -1301, -1304
_TEXT_MAX_CHARS = {APPID: 64, BUCKET: 128, URL_FIELDS[0]: URL_MAX_CHARS, URL_FIELDS[1]: URL_MAX_CHARS}
_FIELDS = frozenset({*_TEXT_MAX_CHARS, *IMAGE_FIELDS})
_PARTS_MAX = 32
_DRAIN_FACTOR = 4  # a body above this multiple of the limit is not read to its end


@dataclass(frozen=True, slots=True)
class ImageSide:
    """One image of a request. ``url`` has priority over ``image``. Both None: the image is missing."""

    image: bytes | None
    url: str | None


@dataclass(frozen=True, slots=True)
class Form:
    appid: str
    bucket: str | None
    sides: tuple[ImageSide, ImageSide]


class BodyTooLarge(ApiFailure):
    """Code 23. ``drained``: the body was read to its end, so the connection may stay open."""

    def __init__(self, *, drained: bool) -> None:
        super().__init__(_TOO_LARGE)
        self.drained = drained


async def read_form(content_type: str, chunks: AsyncIterator[bytes], limit: int) -> Form:
    """Read a whole body of at most ``limit`` bytes.

    Raises:
        ApiFailure: 23 too large; 21 neither JSON nor multipart, broken, or a field twice; -1301 no appid;
            -1304 a text field too long. The body was read to its end, except when ``BodyTooLarge.drained``
            is False.
    """
    kind, options = parse_options_header(content_type)
    body: _Json | _Multipart | _Ignored = _Ignored()
    if kind == b"application/json":
        body = _Json()
    elif kind == b"multipart/form-data" and options.get(b"boundary"):
        body = _Multipart(options[b"boundary"])
    await _feed(body, chunks, limit)
    return _form(body.fields())


async def drain(chunks: AsyncIterator[bytes], limit: int) -> None:
    """Read and discard a body, so that the client can read the answer. Raises ``BodyTooLarge``."""
    await _feed(_Ignored(), chunks, limit)


async def _feed(body: _Json | _Multipart | _Ignored, chunks: AsyncIterator[bytes], limit: int) -> None:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size <= limit:
            body.write(chunk)
        elif size > limit * _DRAIN_FACTOR:
            raise BodyTooLarge(drained=False)
    if size > limit:
        raise BodyTooLarge(drained=True)


def _form(fields: dict[str, bytes]) -> Form:
    texts = {name: _text(name, fields[name]) for name in _TEXT_MAX_CHARS if name in fields}
    if not texts.get(APPID):
        raise ApiFailure(_EMPTY, "appid is missing")
    sides = (
        ImageSide(fields.get(image), texts.get(url) or None)
        for image, url in zip(IMAGE_FIELDS, URL_FIELDS, strict=True)
    )
    return Form(texts[APPID], texts.get(BUCKET) or None, (next(sides), next(sides)))


def _text(name: str, value: bytes) -> str:
    if len(value) > _TEXT_MAX_CHARS[name]:
        raise ApiFailure(_TOO_LONG, f"{name} is too long")
    try:
        text = value.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ApiFailure(_INVALID, f"{name} is not UTF-8") from error
    if not text.isprintable():
        raise ApiFailure(_INVALID, f"{name} has control characters")
    return text


class _Ignored:
    """A body with an unknown media type."""

    def write(self, chunk: bytes) -> None:
        pass

    def fields(self) -> dict[str, bytes]:
        raise ApiFailure(_INVALID, "neither JSON nor multipart")


class _Json:
    """A JSON body. JSON contains urls only; an image field is ignored."""

    def __init__(self) -> None:
        self._body = bytearray()

    def write(self, chunk: bytes) -> None:
        self._body += chunk

    def fields(self) -> dict[str, bytes]:
        try:
            tree = json.loads(self._body.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ApiFailure(_INVALID, "broken JSON") from error
        if not isinstance(tree, dict):
            raise ApiFailure(_INVALID, "JSON, but not an object")
        return {name: _json_text(name, tree[name]) for name in _TEXT_MAX_CHARS if tree.get(name) is not None}


def _json_text(name: str, value: object) -> bytes:
    if name == APPID and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 10**18:
            raise ApiFailure(_TOO_LONG, "appid is too long")
        return str(value).encode()
    if not isinstance(value, str):
        raise ApiFailure(_INVALID, f"{name} is not text")
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:  # a lone surrogate
        raise ApiFailure(_INVALID, f"{name} is not text") from error


class _Multipart:
    """A multipart body. Collects the parts with known names and skips the other parts."""

    def __init__(self, boundary: bytes) -> None:
        self._fields: dict[str, bytes] = {}
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._name = ""
        self._part: bytearray | None = None
        self._parts = 0
        self._ended = False
        self._broken: Exception | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            self._broken = error

    def write(self, chunk: bytes) -> None:
        if self._broken is not None:  # read on, so that the client can read the answer
            return
        try:
            self._parser.write(chunk)
        except (FormParserError, ApiFailure) as error:
            self._broken = error
            self._fields.clear()

    def fields(self) -> dict[str, bytes]:
        if self._broken is not None:
            raise ApiFailure(_INVALID, "broken multipart") from self._broken
        if not self._ended:
            raise ApiFailure(_INVALID, "multipart without its end")
        return self._fields

    def _begin(self) -> None:
        self._parts += 1
        self._disposition = b""
        if self._parts > _PARTS_MAX:
            raise ApiFailure(_INVALID, "too many parts")

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        self._name = options.get(b"name", b"").decode("latin-1")
        self._part = bytearray() if self._name in _FIELDS else None
        if self._name in self._fields:
            raise ApiFailure(_INVALID, f"{self._name} is repeated")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part += memoryview(data)[start:end]

    def _part_end(self) -> None:
        if self._part is not None:
            self._fields[self._name] = bytes(self._part)
            self._part = None

    def _end(self) -> None:
        self._ended = True
