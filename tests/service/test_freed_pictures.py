"""Two seconds after the answer, no byte of a picture is in the memory of the process; no collector runs."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from agent.service.image_decoder import decode
from tests.service.compareface_kit import call, fields
from tests.service.kit import APPID, files, post, sign
from tests.service.pictures import photo
from tests.service.program import WAIT_S, Program, program

SETTLE_S = 2.0
WINDOW_BYTES = 64
STRIDE_BYTES, WORD_BYTES = 32, 8
PODIUM = decode(photo("obama_podium"))
NOISE = np.random.default_rng(7)


def new_picture(scale: float = 1.0) -> bytes:
    """A JPEG of the person that equals no other picture."""
    noisy = PODIUM.astype(np.int16) + NOISE.integers(-6, 7, PODIUM.shape)
    pixels = cv2.resize(np.clip(noisy, 0, 255).astype(np.uint8), None, fx=scale, fy=scale)
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def windows(picture: bytes) -> list[bytes]:
    """Parts of the encoded picture, and a row of its pixels through the face."""
    parts = [picture[len(picture) * n // 16 :][:WINDOW_BYTES] for n in range(1, 16)]
    try:
        pixels = decode(picture)
    except Exception:
        return parts
    middle = pixels[pixels.shape[0] // 3, pixels.shape[1] // 2 :].tobytes()[: 2 * WINDOW_BYTES]
    return [*parts, middle]


def found_in(process: Program, parts: list[bytes]) -> list[tuple[int, int]]:
    """(index of the part, address) of each part in the readable memory of the process.

    A part has ``WINDOW_BYTES`` or more, so it covers a word at a multiple of ``STRIDE_BYTES``. Only a region
    with such a word is searched: a search of all of the memory for each part takes 4 s.
    """
    words = {part[start : start + WORD_BYTES] for part in parts for start in range(STRIDE_BYTES)}
    first_two = np.zeros(2**16, bool)
    first_two[[int.from_bytes(word[:2], "little") for word in words]] = True
    found = []
    maps = Path(f"/proc/{process.process.pid}/maps").read_text().splitlines()
    with Path(f"/proc/{process.process.pid}/mem").open("rb", 0) as memory:
        for line in maps:
            start, end, rights, name = re.match(r"(\w+)-(\w+) (\S+) \S+ \S+ \S+\s*(.*)", line).groups()  # type: ignore[union-attr]
            if not rights.startswith("rw") or name.startswith("[v"):
                continue
            try:
                memory.seek(int(start, 16))
                data = memory.read(int(end, 16) - int(start, 16))
            except OSError:
                continue
            sample = np.frombuffer(data, "<u2")[:: STRIDE_BYTES // 2]
            places = np.flatnonzero(first_two[sample]) * STRIDE_BYTES
            if any(data[place : place + WORD_BYTES] in words for place in places):
                found += [
                    (n, int(start, 16) + data.find(part)) for n, part in enumerate(parts) if part in data
                ]
    return found


def broken(first: bytes, second: bytes) -> dict[str, Any]:
    """A multipart body without its end."""
    request = files(first, second)
    whole = httpx.Request("POST", "http://x", **request)
    body = whole.read()
    return {"content": body[:-20], "headers": {"Content-Type": whole.headers["content-type"]}}


def other_appid(first: bytes, second: bytes) -> dict[str, Any]:
    return {**files(first, second), "data": {"appid": "999"}}


def no_second(first: bytes, second: bytes) -> dict[str, Any]:
    return {"data": {"appid": APPID}, "files": {"imageA": ("a.jpg", first), "x": ("b.jpg", second)}}


def cut(first: bytes, second: bytes) -> dict[str, Any]:
    return files(first[: len(first) // 2], second)


def escaped(body: bytes) -> bytes:
    return body.replace(b"/", b"\\/")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with program(tmp_path_factory.mktemp("service"), fresh=True) as made:
        post(made, **files(photo("biden_portrait"), photo("obama_portrait")))  # type: ignore[arg-type]
        yield made


def test_picture_of_an_unfinished_request_is_found(service: Program) -> None:
    picture = new_picture()
    request = httpx.Request("POST", service.url, headers={"Authorization": sign()}, **files(picture, picture))
    body = request.read()
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    until = time.monotonic() + WAIT_S
    with socket.create_connection(service.address) as link:
        link.sendall(f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + body[: len(body) // 2])
        while len({n for n, _ in found_in(service, windows(picture)[:-1])}) < 10:
            assert time.monotonic() < until


@pytest.mark.parametrize(
    ("request_of", "code"),
    [(files, 0), (broken, 21), (other_appid, 6), (no_second, -1300), (cut, -1102)],
)
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_no_picture_is_in_memory_after_the_answer(
    service: Program, request_of: Callable[[bytes, bytes], dict[str, Any]], code: int, scale: float
) -> None:
    first, second = new_picture(scale), new_picture(scale)
    answer = post(service, authorization=sign(), **request_of(first, second))  # type: ignore[arg-type]
    assert answer["code"] == code
    time.sleep(SETTLE_S)
    assert found_in(service, [*windows(first), *windows(second)]) == []


@pytest.mark.parametrize("form", [bytes, escaped])
def test_no_picture_of_compareface_is_in_memory_after_the_answer(
    service: Program, form: Callable[[bytes], bytes]
) -> None:
    """Neither as a picture nor as the base64 text of the request."""
    first, second = new_picture(), new_picture()
    body = form(json.dumps(fields(first, second)).encode())
    assert call(service, body)["Score"] > 40  # type: ignore[arg-type]
    time.sleep(SETTLE_S)
    texts = [body[len(body) * n // 16 :][:WINDOW_BYTES] for n in range(1, 16)]
    assert found_in(service, [*windows(first), *windows(second), *texts]) == []
