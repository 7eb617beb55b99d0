"""Parser of request bodies. Only the *names* of fields count.

Real clients give text parts a file name, give images no media type, and send parts in any order.

A picture is one ``bytearray``, without a copy, and ``Form.wipe`` overwrites the picture. No object of this
module is part of a reference cycle: a cycle would keep the picture of a payer until a garbage collection.
"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from python_multipart.multipart import parse_options_header

from agent.compare.contract import APPID, BUCKET, IMAGE_FIELDS, URL_FIELDS, URL_MAX_CHARS, ApiFailure
from agent.core.strict_json import KeyRepeatedError, unique_keys
from agent.service.causes import Cause
from agent.service.multipart import Multipart

_INVALID, _TOO_LARGE, _EMPTY, _TOO_LONG = 21, 23, -1301, -1304
_TEXT_MAX_CHARS = {APPID: 64, BUCKET: 128, URL_FIELDS[0]: URL_MAX_CHARS, URL_FIELDS[1]: URL_MAX_CHARS}
_FIELDS = frozenset({*_TEXT_MAX_CHARS, *IMAGE_FIELDS})
_DRAIN_FACTOR = 4  # a body above this multiple of the limit is not read to its end
_JSON_MAX_BYTES = 256_000  # two urls have at most 4 kB; the parser holds the text four times
_JSON_COPIES = 4


@dataclass(frozen=True, slots=True)
class ImageSide:
    """One image of a request. ``url`` has priority over ``image``. Both None: the image is missing."""

    image: bytearray | None = field(repr=False)
    url: str | None


@dataclass(frozen=True, slots=True)
class Form:
    appid: str
    bucket: str | None
    sides: tuple[ImageSide, ImageSide]

    def wipe(self) -> None:
        """Overwrite both pictures with zeros. No thread may read the pictures at that time."""
        for side in self.sides:
            wipe(side.image)


class BodyTooLarge(ApiFailure):
    """Code 23. ``drained``: the body was read to its end, so the connection may stay open."""

    def __init__(self, *, drained: bool) -> None:
        super().__init__(_TOO_LARGE)
        self.drained = drained


def wipe(picture: bytearray | None) -> None:
    """Overwrite a picture with zeros."""
    if picture:
        picture[:] = bytes(len(picture))


def memory_bytes(content_type: str, declared: int | None, limit: int) -> int:
    """The memory that ``read_form`` needs for a body, from the headers alone.

    Args:
        declared: the Content-Length; None for a chunked body.
        limit: as for ``read_form``.
    """
    if parse_options_header(content_type)[0] == b"application/json":
        max_bytes = min(limit, _JSON_MAX_BYTES)
        return _JSON_COPIES * (max_bytes if declared is None else min(declared, max_bytes))
    return limit if declared is None else min(declared, limit)


async def read_form(content_type: str, chunks: AsyncIterator[bytes], limit: int) -> Form:
    """Read a whole body of at most ``limit`` bytes; of JSON at most 256 000 bytes.

    Raises:
        ApiFailure: 23 too large; 21 neither JSON nor multipart, broken, or a field twice; -1301 no appid;
            -1304 a text field too long. The body was read to its end, except when ``BodyTooLarge.drained``
            is False.
    """
    kind, options = parse_options_header(content_type)
    body: _Json | Multipart
    if kind == b"application/json":
        body, limit = _Json(), min(limit, _JSON_MAX_BYTES)
    elif kind == b"multipart/form-data" and options.get(b"boundary"):
        body = Multipart(options[b"boundary"], _FIELDS)
    else:
        await drain(chunks, limit)
        raise ApiFailure(_INVALID, "neither JSON nor multipart", cause=Cause.MEDIA_TYPE)
    fields: dict[str, bytearray] = {}
    try:
        await feed(body.write, chunks, limit)
        fields = body.fields()
        return _form(fields)
    except BaseException:
        for value in fields.values():
            wipe(value)
        raise
    finally:
        body.close()


async def drain(chunks: AsyncIterator[bytes], limit: int) -> None:
    """Read and discard a body, so that the client can read the answer. Raises ``BodyTooLarge``."""
    await feed(lambda _: None, chunks, limit)


async def feed(write: Callable[[bytes], object], chunks: AsyncIterator[bytes], limit: int) -> None:
    """Pass a body of at most ``limit`` bytes to ``write``. Raises ``BodyTooLarge``."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size <= limit:
            write(chunk)
        elif size > limit * _DRAIN_FACTOR:
            raise BodyTooLarge(drained=False)
    if size > limit:
        raise BodyTooLarge(drained=True)


def _form(fields: dict[str, bytearray]) -> Form:
    texts = {
        name: _text(name, fields[name], max_chars)
        for name, max_chars in _TEXT_MAX_CHARS.items()
        if name in fields
    }
    if not texts.get(APPID):
        raise ApiFailure(_EMPTY, "appid is missing")
    first, second = (
        ImageSide(fields.get(image), texts.get(url) or None)
        for image, url in zip(IMAGE_FIELDS, URL_FIELDS, strict=True)
    )
    return Form(texts[APPID], texts.get(BUCKET) or None, (first, second))


def _text(name: str, value: bytearray, max_chars: int) -> str:
    if len(value) > max_chars:
        raise ApiFailure(_TOO_LONG, f"{name} is too long")
    try:
        text = value.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ApiFailure(_INVALID, f"{name} is not UTF-8", cause=Cause.FIELD_CHARACTERS) from error
    if not text.isprintable():
        raise ApiFailure(_INVALID, f"{name} has control characters", cause=Cause.FIELD_CHARACTERS)
    return text


def json_object(body: bytearray) -> dict[str, Any]:
    """Parse a JSON object, strictly. Raises ``ApiFailure`` 21."""
    try:
        tree = json.loads(body.decode("utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        cause = Cause.JSON_KEY_REPEATED if isinstance(error, KeyRepeatedError) else Cause.JSON_INVALID
        raise ApiFailure(_INVALID, "broken JSON", cause=cause) from error
    if not isinstance(tree, dict):
        raise ApiFailure(_INVALID, "JSON, but not an object", cause=Cause.JSON_NO_OBJECT)
    return tree


def url_text(name: str, value: object) -> str:
    """A url of a JSON body. Raises ``ApiFailure`` 21 (no text), -1304 (too long)."""
    return _text(name, _json_text(name, value), URL_MAX_CHARS)


class _Json:
    """A JSON body. JSON contains urls only; an image field is ignored."""

    def __init__(self) -> None:
        self._body = bytearray()

    def write(self, chunk: bytes) -> None:
        self._body += chunk

    def fields(self) -> dict[str, bytearray]:
        tree = json_object(self._body)
        return {name: _json_text(name, tree[name]) for name in _TEXT_MAX_CHARS if tree.get(name) is not None}

    def close(self) -> None:
        self._body = bytearray()


def _json_text(name: str, value: object) -> bytearray:
    if name == APPID and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 10**18:
            raise ApiFailure(_TOO_LONG, "appid is too long")
        return bytearray(str(value).encode())
    if not isinstance(value, str):
        raise ApiFailure(_INVALID, f"{name} is not text", cause=Cause.FIELD_TYPE)
    try:
        return bytearray(value.encode("utf-8"))
    except UnicodeEncodeError as error:  # a lone surrogate
        raise ApiFailure(_INVALID, f"{name} is not text", cause=Cause.FIELD_TYPE) from error
