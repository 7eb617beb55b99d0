"""The image decoder: format and size are checked before decoding."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.compare.contract import ApiFailure
from agent.service.causes import Cause
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
    assert (inspected(data).width, inspected(data).height) == (60, 40)
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


# --- photographs of phones ---------------------------------------------------------------------------


def phone_photo(*flags: int) -> bytes:
    """12 megapixels, 4032×3024."""
    pixels = cv2.resize(decode(PORTRAIT), (3024, 4032))
    return cv2.imencode(".jpg", pixels, list(flags))[1].tobytes()


@pytest.mark.parametrize("flags", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)], ids=["sequential", "progressive"])
def test_photo_of_12_megapixels_is_decoded_at_half_size(flags: tuple[int, ...]) -> None:
    pixels = decode(phone_photo(*flags))
    assert pixels.shape == (2016, 1512, 3)
    expected = cv2.resize(decode(PORTRAIT), (1512, 2016))
    assert np.abs(pixels.astype(int) - expected).mean() < 2
    assert decode(turned(phone_photo(*flags), 6)).shape == (1512, 2016, 3)


def test_scaled_size_is_rounded_up() -> None:
    pixels = np.full((4_003, 4_001, 3), 90, np.uint8)
    assert decode(cv2.imencode(".jpg", pixels)[1].tobytes()).shape == (2_002, 2_001, 3)


@pytest.mark.parametrize(
    "trailer",
    [b"\0" * 4_500_000, PORTRAIT, b"\xff\xda\x00\x08" * 10_000, b"\xff", b"\xff\xd9", b"\xff\xd8\xff\xe1"],
    ids=["zeros", "second picture", "scans", "half a marker", "end marker", "start marker"],
)
def test_data_after_the_picture_is_ignored(trailer: bytes) -> None:
    assert np.array_equal(decode(PORTRAIT + trailer), decode(PORTRAIT))


@pytest.mark.parametrize("missing", [1, 2])
def test_missing_end_marker_is_accepted_with_all_rows(missing: int) -> None:
    assert np.array_equal(decode(PORTRAIT[:-missing]), decode(PORTRAIT))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.98])
@pytest.mark.parametrize(
    "flags",
    [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)],
    ids=["sequential", "progressive", "restart markers"],
)
def test_picture_without_its_last_rows_is_refused(flags: tuple[int, ...], share: float) -> None:
    picture = cv2.imencode(".jpg", decode(PORTRAIT), list(flags))[1].tobytes()
    assert code_of(picture[: int(len(picture) * share)]) == -1102


def test_png_with_packed_text_is_decoded_without_the_text() -> None:
    picture = plain(60, 40)
    packed = zlib.compress(b"x" * 50_000_000)
    chunk = b"zTXtComment\0\0" + packed
    bomb = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    image = inspected(picture[:33] + bomb + picture[33:] + b"trailer")
    assert bytes(image.data) == picture


def restarts(count: int) -> bytes:
    """A JPEG of some megabytes whose scan holds restart markers only."""
    at = PORTRAIT.index(b"\xff\xda")
    return PORTRAIT[:at] + b"\xff\xdd\x00\x04\x00\x01" + PORTRAIT[at : at + 14] + b"\xff\xd0" * count


@pytest.mark.parametrize(
    "data",
    [
        PORTRAIT[:2] + b"\xff\xfe\x00\x02" * 1_100 + PORTRAIT[2:],
        PORTRAIT[:2] + b"\xff\x01" * 1_100 + PORTRAIT[2:],
        plain(20, 20)[:33] + (b"\0\0\0\0abCd" + b"\0" * 4) * 21_000 + plain(20, 20)[33:],
    ],
    ids=["JPEG segments", "JPEG markers", "PNG chunks"],
)
def test_picture_of_too_many_parts_is_refused_by_its_header(data: bytes) -> None:
    with pytest.raises(ApiFailure) as caught:
        inspected(data)
    assert (caught.value.api_code, caught.value.cause) == (-1102, Cause.HEADER)


@pytest.mark.parametrize(
    "data",
    [
        restarts(1_000_000),
        PORTRAIT[:2] + b"\xff" * 2_000_000 + PORTRAIT[2:],
        PORTRAIT[:-2] + b"\xff" * 2_000_000,
    ],
    ids=["restart markers", "fill bytes", "fill bytes at the end"],
)
def test_header_is_inspected_with_little_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with contextlib.suppress(ApiFailure):
            inspected(data)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [".png", ".bmp"])
def test_every_cut_has_a_code(kind: str) -> None:
    picture = plain(20, 20, kind)
    for end in range(1, len(picture)):
        assert code_of(picture[:end]) in (-1400, -1102), end


@pytest.mark.parametrize("flags", [(), (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)], ids=["plain", "restart markers"])
def test_cut_jpeg_is_refused_or_equals_the_whole_picture(flags: tuple[int, ...]) -> None:
    small = cv2.resize(decode(PORTRAIT), (32, 40))
    picture = cv2.imencode(".jpg", small, list(flags))[1].tobytes()
    whole = decode(picture)
    for end in range(1, len(picture) - 4):
        try:
            found = decode(picture[:end])
        except ApiFailure as failure:
            assert failure.api_code in (-1400, -1102)
        else:
            assert np.array_equal(found, whole), end
