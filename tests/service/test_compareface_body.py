"""The parser of CompareFace bodies: its memory, and any bytes at all."""

from __future__ import annotations

import base64
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.contract import ApiFailure
from agent.service.compareface_body import memory_bytes, parse

LIMIT = 6_000_000
HALF = 2_900_000


def body_of(first: str, second: str, more: str = "") -> bytes:
    return f'{{"ImageA":"{first}","ImageB":"{second}"{more}}}'.encode()


HEAVY = {
    "two pictures": body_of("A" * (HALF - HALF % 4), "A" * (HALF - HALF % 4)),
    "one picture": body_of("A" * 4_999_996, ""),
    "slashes escaped": body_of("\\/" * (HALF // 2), "\\/" * (HALF // 2)),
    "every character escaped": body_of("\\u002f" * (HALF // 6), "\\u002F" * (HALF // 6)),
    "wide characters": body_of("\U0001f600" * (HALF // 4), "A" * HALF),
    "wide characters, escaped": body_of("\\ud83d\\ude00" * (HALF // 12), "A" * HALF),
    "backslashes": body_of("\\" * (2 * HALF), ""),
    "names": b'{"ImageA":"",' * 400_000,
    "spaces": b'{"ImageA"' + b" " * 5_800_000 + b':"","ImageB":""}',
    "long text": body_of("AAAA", "AAAA", ',"UrlA":"' + "x" * 5_800_000 + '"'),
    "unfinished": b'{"ImageA":"' + b"A" * 5_900_000,
    "deep": b"[" * 5_900_000,
}


@pytest.mark.parametrize("name", HEAVY)
def test_memory_stays_below_the_reserved_bytes(name: str) -> None:
    content = HEAVY[name]
    assert len(content) <= LIMIT
    body = bytearray(content)
    tracemalloc.start()
    try:
        parse(body)
    except ApiFailure:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(body) + peak <= memory_bytes(len(body), LIMIT) + 100_000


def test_reserved_bytes_of_a_request_fit_into_the_smallest_share() -> None:
    """``memory_budget`` keeps 13 MB for each address and account."""
    assert max(memory_bytes(None, LIMIT), memory_bytes(10**9, LIMIT)) < 13_000_000
    assert memory_bytes(0, LIMIT) == 0


TEXT = st.text(st.sampled_from('AZ+/=\\"#u002fF:{},ImageAB \n%\U0001f600'), max_size=40)


@given(first=st.binary(max_size=300), second=st.binary(max_size=300), indent=st.sampled_from([None, 1]))
def test_any_picture_is_read_back(first: bytes, second: bytes, indent: int | None) -> None:
    fields = {"ImageB": base64.b64encode(second).decode(), "ImageA": base64.b64encode(first).decode()}
    text = json.dumps(fields, indent=indent)
    for written in (text, text.replace("/", "\\/"), text.replace("=", "\\u003d").replace("+", "\\u002B")):
        sides = parse(bytearray(written.encode())).sides
        assert [bytes(side.image or b"") for side in sides] == [first, second]


@given(st.one_of(st.binary(max_size=200), TEXT.map(str.encode)))
def test_any_body_is_a_form_or_a_refusal(content: bytes) -> None:
    try:
        parse(bytearray(content))
    except ApiFailure as failure:
        assert failure.api_code in (20, 21, 23, -1102, -1304)


@given(first=TEXT, second=TEXT, name=TEXT)
def test_picture_is_that_of_a_strict_json_parser(first: str, second: str, name: str) -> None:
    """What the parser cuts out of the body is what ``json`` reads at this place, or the body is refused."""
    content = f'{{"ImageA":"{first}","{name}":"","ImageB":"{second}"}}'.encode()
    try:
        form = parse(bytearray(content))
    except ApiFailure:
        return
    tree = json.loads(content)
    for side, key in zip(form.sides, ("ImageA", "ImageB"), strict=True):
        assert bytes(side.image or b"") == base64.b64decode(tree.get(key) or "", validate=True)
