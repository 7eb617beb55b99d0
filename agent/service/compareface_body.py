"""Parser of the body of ``CompareFace``: a JSON object with two images in base64, or two urls.

The base64 text of a picture is never a text object: the parser cuts it out of the body, the JSON without the
pictures is small, and each picture is decoded in pieces. So a body needs less than twice its own memory.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Any

from agent.compare.codes import REFERENCE_FLAG, SHOT_FLAG
from agent.compare.compareface_contract import BASE64_MAX_CHARS, FACE_MODEL
from agent.compare.contract import ApiFailure
from agent.service.causes import Cause
from agent.service.forms import Form, ImageSide, json_object, url_text, wipe

_TOO_LARGE_IMAGE, _INVALID, _TOO_LARGE, _UNDECODABLE = 20, 21, 23, -1102
_IMAGE = re.compile(rb'(?<!\\)"(Image[AB])"[ \t\r\n]*+:[ \t\r\n]*+"([^"]*+)"')
_TEXT_MAX_BYTES = 64_000  # the body without its pictures: two urls, each character escaped, have 25 kB
_TEXT_COPIES = 4
_PIECE_BYTES = 64 * 1024
_ESCAPE_BYTES = 6
_ESCAPES = [(rb"\/", b"/")]  # JSON writers escape these characters of base64, with hex digits of either case
_ESCAPES += [(form % ord(char), char) for char in (b"+", b"/", b"=") for form in (b"\\u%04x", b"\\u%04X")]
_QUALITY_LEVELS = range(5)
_PARAMETERS = frozenset(
    {"ImageA", "ImageB", "UrlA", "UrlB", "FaceModelVersion", "QualityControl", "NeedRotateDetection"}
    | {"FaceMatchingStrategy"}
)
_NAME = re.compile(r"[A-Za-z0-9_.]{1,40}")
_Span = tuple[int, int]


def memory_bytes(declared: int | None, limit: int) -> int:
    """The memory that ``parse`` needs for a body, the body included. ``declared``: None if not known."""
    size = limit if declared is None else min(declared, limit)
    return 2 * size + _TEXT_COPIES * min(size, _TEXT_MAX_BYTES)


def parse(body: bytearray) -> Form:
    """The two sides of a verified body. The caller overwrites the body.

    Raises:
        ApiFailure: 21 no JSON object, a repeated or unknown parameter, or a value outside this service;
            23 more text than two urls need; -1304 a url too long; 20 a picture too long; -1102 no base64.
    """
    text, spans = _without_pictures(body)
    fields = {name: value for name, value in json_object(text).items() if value is not None}
    _check_parameters(fields)
    first = _side(body, fields, spans, "A", SHOT_FLAG)
    try:
        return Form("", None, (first, _side(body, fields, spans, "B", REFERENCE_FLAG)))
    except ApiFailure:
        wipe(first.image)
        raise


def _without_pictures(body: bytearray) -> tuple[bytearray, dict[str, _Span]]:
    """The body with a mark in place of each base64 text, and where the text of each image is."""
    text, spans, copied_until = bytearray(), dict[str, _Span](), 0
    for match in _IMAGE.finditer(body):
        name = match[1].decode()
        # A second one gets the same mark: the JSON parser then refuses a repeated key or an unknown parent.
        spans.setdefault(name, match.span(2))
        if len(text) + match.start(2) - copied_until > _TEXT_MAX_BYTES:
            break
        text += body[copied_until : match.start(2)] + _mark(name).encode()
        copied_until = match.end(2)
    if len(text) + len(body) - copied_until > _TEXT_MAX_BYTES:
        raise ApiFailure(_TOO_LARGE, "more text than two urls need")
    return text + body[copied_until:], spans


def _mark(name: str) -> str:
    return f"#{name}"  # no base64


def _check_parameters(fields: dict[str, Any]) -> None:
    for name in fields.keys() - _PARAMETERS:
        shown = name if _NAME.fullmatch(name) else "a parameter"
        raise ApiFailure(_INVALID, f"{shown} is unknown", cause=Cause.PARAMETER_UNKNOWN)
    if fields.get("FaceModelVersion", FACE_MODEL) != FACE_MODEL:
        raise ApiFailure(_INVALID, f"FaceModelVersion is not {FACE_MODEL}", cause=Cause.FACE_MODEL)
    if not _is_integer(fields.get("QualityControl", 0), _QUALITY_LEVELS):
        raise ApiFailure(_INVALID, "QualityControl is not 0 to 4", cause=Cause.QUALITY_CONTROL)
    for name, value in (("NeedRotateDetection", 0), ("FaceMatchingStrategy", 1)):
        if not _is_integer(fields.get(name, value), range(value, value + 1)):
            why = f"{name} has one value in this service: {value}"
            raise ApiFailure(_INVALID, why, cause=Cause.PARAMETER_VALUE)


def _is_integer(value: object, allowed: range) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in allowed


def _side(
    body: bytearray, fields: dict[str, Any], spans: dict[str, _Span], letter: str, flag: int
) -> ImageSide:
    """One side. With a url its image is ignored, as the API page describes."""
    name = f"Image{letter}"
    image = fields.get(name, "")
    if not isinstance(image, str):
        raise ApiFailure(_INVALID, f"{name} is not text", cause=Cause.FIELD_TYPE)
    if url := url_text(f"Url{letter}", fields.get(f"Url{letter}", "")):
        return ImageSide(None, url)
    try:
        if image == _mark(name) and name in spans:
            start, end = spans[name]
            with memoryview(body)[start:end] as encoded:
                return ImageSide(_decoded(encoded), None)
        return ImageSide(_decoded(memoryview(image.encode("utf-8", "surrogatepass"))), None)
    except ApiFailure as failure:
        raise failure.of_image(flag) from None
    except binascii.Error:
        why = f"{name} is not base64"
        raise ApiFailure(_UNDECODABLE, why, fail_flag=flag, cause=Cause.BASE64) from None


def _decoded(encoded: memoryview) -> bytearray:
    """The picture. Raises ``ApiFailure`` 20, ``binascii.Error``."""
    picture, rest, size, is_ended = bytearray(), b"", 0, False
    for characters in _unescaped(encoded):
        size += len(characters)
        if size > BASE64_MAX_CHARS:
            wipe(picture)
            raise ApiFailure(_TOO_LARGE_IMAGE, f"more than {BASE64_MAX_CHARS} characters of base64")
        characters_so_far = rest + characters
        whole_groups = len(characters_so_far) - len(characters_so_far) % 4
        rest = characters_so_far[whole_groups:]
        try:
            if is_ended and characters_so_far:
                raise binascii.Error("data after the end")
            picture += binascii.a2b_base64(characters_so_far[:whole_groups], strict_mode=True)
        except binascii.Error:
            wipe(picture)
            raise
        is_ended = characters_so_far[:whole_groups].endswith(b"=")
    if rest:
        wipe(picture)
        raise binascii.Error("the last characters are missing")
    return picture


def _unescaped(encoded: memoryview) -> Iterator[bytes]:
    """The characters of a JSON text in pieces. An escape that is no character of base64 stays as it is."""
    rest = b""
    for start in range(0, len(encoded), _PIECE_BYTES):
        chunk = rest + bytes(encoded[start : start + _PIECE_BYTES])
        rest = b""
        if b"\\" in chunk:
            cut = chunk.rfind(b"\\", len(chunk) - _ESCAPE_BYTES + 1)
            if cut >= 0 and start + _PIECE_BYTES < len(encoded):
                chunk, rest = chunk[:cut], chunk[cut:]
            for escape, character in _ESCAPES:
                chunk = chunk.replace(escape, character)
        yield chunk
