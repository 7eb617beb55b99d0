"""Parsing of bodies: by field name, bounded, with ``ApiFailure`` as the only exception."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.compare.contract import ApiFailure
from agent.service.forms import BodyTooLarge, Form, ImageSide, drain, read_form

LIMIT = 10_000
KIND = "multipart/form-data; boundary=XX"


async def stream(body: bytes, step: int = 7) -> AsyncIterator[bytes]:
    for at in range(0, len(body), step):
        yield body[at : at + step]


def read(kind: str, body: bytes, *, step: int = 7, limit: int = LIMIT) -> Form:
    return asyncio.run(read_form(kind, stream(body, step), limit))


def code_of(kind: str, body: bytes, *, limit: int = LIMIT) -> int:
    with pytest.raises(ApiFailure) as caught:
        read(kind, body, limit=limit)
    return caught.value.api_code


def part(head: str, value: bytes) -> bytes:
    return f"--XX\r\n{head}\r\n\r\n".encode() + value + b"\r\n"


def named(name: str, value: bytes) -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', value)


END = b"--XX--\r\n"


def test_image_bytes_are_unchanged_for_every_chunk_size() -> None:
    picture = bytes(range(256)) + b"\r\n--X\r\n--XY" * 3
    body = named("appid", b"1") + named("imageB", b"b") + named("imageA", picture) + END
    for step in (1, 2, 3, 5, 64, len(body)):
        assert read(KIND, body, step=step) == Form(
            "1", None, (ImageSide(bytearray(picture), None), ImageSide(bytearray(b"b"), None))
        )


def test_header_names_are_case_insensitive_and_other_parts_are_ignored() -> None:
    body = (
        part("content-DISPOSITION: form-data; name=appid", b" 1 ")
        + named("imageC", b"x")
        + part("X-No: name", b"y")
        + named("bucket", b"b")
        + END
    )
    assert read(KIND, body) == Form("1", "b", (ImageSide(None, None), ImageSide(None, None)))


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("", b"", 21),
        ("text/plain", b"x", 21),
        ("multipart/form-data", named("appid", b"1") + END, 21),
        ("multipart/form-data; boundary=" + "x" * 300, b"", 21),
        (KIND, b"", 21),
        (KIND, b"nonsense", 21),
        (KIND, named("appid", b"1"), 21),  # no end
        (KIND, named("appid", b"1")[:-3], 21),
        (KIND, named("appid", b"1") + named("appid", b"2") + END, 21),  # which one?
        (KIND, named("appid", b"\xff\xfe") + END, 21),
        (KIND, named("appid", b"1\n2") + END, 21),
        (KIND, named("x", b"") * 40 + END, 21),
        (KIND, part("X: " + "y" * 5_000, b"") + END, 21),
        (KIND, part("\r\n".join(f"X{i}: y" for i in range(50)), b"") + END, 21),
        (KIND, named("imageA", b"1") + END, -1301),
        (KIND, named("appid", b"  ") + END, -1301),
        (KIND, named("appid", b"1" * 65) + END, -1304),
        (KIND, named("appid", b"1") + named("imageA", b"x" * LIMIT) + END, 23),
        ("application/json", b"", 21),
        ("application/json", b"[" * 9_000, 21),
        ("application/json", b'{"appid":' * 900, 21),
        ("application/json", b'{"appid": "\\ud800"}', 21),
        ("application/json", b'{"appid": true}', 21),
        ("application/json", b'{"appid": 1.5}', 21),
        ("application/json", b'{"appid": ' + b"9" * 5_000 + b"}", 21),
        ("application/json", b'{"appid": ' + b"9" * 100 + b"}", -1304),
        ("application/json", b'{"appid": null}', -1301),
        ("application/json", b"{}", -1301),
        ("application/json", b'"' + b"x" * LIMIT + b'"', 23),
    ],
)
def test_invalid_body_has_its_code(kind: str, body: bytes, code: int) -> None:
    assert code_of(kind, body) == code


def test_body_over_the_limit_is_drained_up_to_a_multiple() -> None:
    for size, drained in ((LIMIT + 1, True), (LIMIT * 4, True), (LIMIT * 4 + 1, False)):
        with pytest.raises(BodyTooLarge) as caught:
            asyncio.run(drain(stream(b"x" * size, 100), LIMIT))
        assert caught.value.drained is drained
    asyncio.run(drain(stream(b"x" * LIMIT), LIMIT))


CODES = {21, 23, -1301, -1304}
MARKS = (
    b"--XX\r\n",
    b"--XX--\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"--XX",
    b"\r",
    b"\n",
    b":",
    b";",
    b'"',
    b"\0",
    b"\xff",
)
FIELDS = (b"Content-Disposition: form-data; name=", b"appid", b"imageA", b'"imageB"', b"urlA", b"*=utf-8''x")
pieces = st.sampled_from((*MARKS, *FIELDS))
bodies = st.lists(pieces | st.binary(max_size=12), max_size=30).map(b"".join)


@settings(max_examples=500)
@given(st.sampled_from([KIND, KIND, "application/json", "multipart/form-data; boundary=\xff"]), bodies)
def test_any_body_is_parsed_or_has_a_code(kind: str, body: bytes) -> None:
    try:
        form = read(kind, body, step=5, limit=200)
    except ApiFailure as failure:
        assert failure.api_code in CODES
    else:
        assert form.appid


@given(st.binary(max_size=120).map(lambda raw: raw.decode("latin-1")))  # as HTTP headers are decoded
def test_any_content_type_is_parsed_or_has_a_code(kind: str) -> None:
    assert code_of(kind, b"--XX--") in CODES


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.none())


@given(st.dictionaries(st.sampled_from(["appid", "bucket", "urlA", "urlB", "imageA"]), values))
def test_any_json_is_parsed_or_has_a_code(tree: dict[str, object]) -> None:
    try:
        form = read("application/json", json.dumps(tree).encode())
    except ApiFailure as failure:
        assert failure.api_code in CODES
    else:
        assert all(side.image is None for side in form.sides)
