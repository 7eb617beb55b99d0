"""The image decoder: format and size are checked before decoding."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.contract import ApiFailure
from agent.service.image_decoder import decode, inspected
from tests.service.pictures import bomb_png, photo, plain, turned

PORTRAIT = photo("obama_portrait")


def code_of(data: bytes) -> int:
    with pytest.raises(ApiFailure) as caught:
        decode(data)
    return caught.value.api_code


@pytest.mark.parametrize("kind", [".png", ".jpg", ".bmp"])
def test_three_formats_are_decoded_to_bgr(kind: str) -> None:
    data = plain(60, 40, kind)
    assert (inspected(data).wide, inspected(data).high) == (60, 40)
    assert decode(data).shape == (40, 60, 3)


def test_progressive_grey_transparent_and_16_bit_images_are_decoded() -> None:
    grey = np.zeros((40, 60), np.uint8)
    progressive = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    clear = cv2.imencode(".png", np.zeros((40, 60, 4), np.uint8))[1].tobytes()
    deep = cv2.imencode(".png", np.zeros((40, 60), np.uint16))[1].tobytes()
    for data in (progressive, clear, deep):
        assert decode(data).shape == (40, 60, 3)
        assert decode(data).dtype == np.uint8


def test_image_is_rotated_upright_by_exif() -> None:
    upright = decode(PORTRAIT)
    lying = cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE)
    stored = cv2.imencode(".jpg", lying, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    assert decode(stored).shape == lying.shape
    rotated = decode(turned(stored, 6))
    assert rotated.shape == upright.shape
    assert np.abs(rotated.astype(int) - upright).mean() < 4


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", -1300),
        (b"GIF89a" + b"\0" * 100, -1400),
        (b"<html></html>", -1400),
        (b"\0" * 100, -1400),
        (bomb_png(4_001, 10), -1400),
        (bomb_png(60_000, 60_000), -1400),
        (bomb_png(2**31, 2**31), -1400),
        (bomb_png(4_000, 4_000), -1102),  # valid size, no pixels
        (bomb_png(0, 10), -1102),
        (PORTRAIT[:1_000], -1102),
        (PORTRAIT[:3], -1102),
        (b"\xff\xd8\xff\xe0\x00\x00" + b"\xff" * 50, -1102),
        (b"BM" + b"\0" * 8, -1102),
        (b"\x89PNG\r\n\x1a\n", -1102),
    ],
)
def test_unusable_image_has_its_code(data: bytes, code: int) -> None:
    assert code_of(data) == code


def test_progressive_jpeg_with_too_many_scans_is_not_decoded() -> None:
    scan = b"\xff\xda\x00\x08" + bytes(6)
    assert code_of(PORTRAIT[:-2] + scan * 100 + PORTRAIT[-2:]) == -1102


def test_too_large_size_in_the_header_is_refused() -> None:
    at = PORTRAIT.index(b"\xff\xc0")
    assert code_of(PORTRAIT[: at + 5] + b"\x20\x00\x20\x00" + PORTRAIT[at + 9 :]) == -1400


magic = st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"BM", b""])


@given(magic, st.binary(max_size=300))
def test_any_bytes_are_decoded_or_have_a_code(head: bytes, rest: bytes) -> None:
    try:
        pixels = decode(head + rest)
    except ApiFailure as failure:
        assert failure.api_code in (-1300, -1400, -1102)
    else:
        assert max(pixels.shape) <= 4_000


@given(st.integers(0, len(PORTRAIT) - 1), st.binary(min_size=1, max_size=8))
def test_damaged_photo_is_decoded_or_has_a_code(at: int, junk: bytes) -> None:
    try:
        decode(PORTRAIT[:at] + junk + PORTRAIT[at + len(junk) :])
    except ApiFailure as failure:
        assert failure.api_code in (-1400, -1102)
