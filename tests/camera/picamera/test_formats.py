"""Conversion of camera buffers to pictures: each format, padded rows, no shared memory."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from agent.camera.picamera.formats import FORMATS, Layout, check_layout, to_bgr
from agent.errors import CameraError

WIDE, HIGH = 48, 32
_TO_YUV = {"YUV420": cv2.COLOR_BGR2YUV_I420, "YVU420": cv2.COLOR_BGR2YUV_YV12}


def picture() -> NDArray[np.uint8]:
    """Smooth, so that half-size chroma loses little; left and right, blue and red differ."""
    across = np.linspace(20, 220, WIDE)[None, :].repeat(HIGH, axis=0)
    down = np.linspace(220, 20, HIGH)[:, None].repeat(WIDE, axis=1)
    return np.dstack([across, np.full_like(across, 90), down]).astype(np.uint8)


def buffer_of(form: str, stride: int) -> NDArray[np.uint8]:
    """The picture in this format: rows padded with noise to ``stride``, then a tail of noise."""
    shown = picture()
    noise = np.random.default_rng(1).integers(0, 256, (HIGH * 3, stride), dtype=np.uint8)
    if form in ("YUV420", "YVU420"):
        planar = cv2.cvtColor(shown, _TO_YUV[form])
        noise[:HIGH, :WIDE] = planar[:HIGH]
        chroma = planar[HIGH:].reshape(HIGH, WIDE // 2)
        halves = noise[HIGH : HIGH * 3 // 2].reshape(HIGH, stride // 2)
        halves[:, : WIDE // 2] = chroma
    elif form == "NV12":
        planar = cv2.cvtColor(shown, cv2.COLOR_BGR2YUV_I420)
        noise[:HIGH, :WIDE] = planar[:HIGH]
        u, v = planar[HIGH:].reshape(2, HIGH // 2, WIDE // 2)
        noise[HIGH : HIGH * 3 // 2, :WIDE] = np.dstack([u, v]).reshape(HIGH // 2, WIDE)
    else:
        channels = shown if form in ("RGB888", "XRGB8888") else shown[:, :, ::-1]
        if form.startswith("X"):
            channels = np.dstack([channels, np.full((HIGH, WIDE), 255, np.uint8)])
        noise[:HIGH, : WIDE * channels.shape[2]] = channels.reshape(HIGH, -1)
    return noise.reshape(-1)


def bytes_per_pixel(form: str) -> int:
    """In a row of the buffer; of the luma plane for a planar format."""
    return 4 if form.startswith("X") else 3 if form.endswith("888") else 1


@pytest.mark.parametrize("padding", [0, 16, 64])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_picture(form: str, padding: int) -> None:
    per_pixel = bytes_per_pixel(form)
    layout = check_layout(Layout(form, WIDE, HIGH, WIDE * per_pixel + padding))
    made = to_bgr(buffer_of(form, layout.stride_bytes), layout)
    assert made.shape == (HIGH, WIDE, 3) and made.dtype == np.uint8 and made.flags.c_contiguous
    difference = np.abs(made.astype(int) - picture().astype(int))
    assert difference.max() <= (0 if per_pixel > 1 else 12)


@pytest.mark.parametrize("padding", [0, 64])
@pytest.mark.parametrize("form", FORMATS)
def test_the_picture_outlives_its_buffer(form: str, padding: int) -> None:
    layout = Layout(form, WIDE, HIGH, WIDE * bytes_per_pixel(form) + padding)
    memory = buffer_of(form, layout.stride_bytes)
    made = to_bgr(memory, layout)
    before = made.copy()
    memory[:] = 0
    assert (made == before).all()


def test_a_buffer_that_is_too_short_is_refused() -> None:
    layout = Layout("RGB888", WIDE, HIGH, WIDE * 3)
    with pytest.raises(CameraError, match="holds no RGB888"):
        to_bgr(np.zeros(layout.frame_bytes - 1, np.uint8), layout)


@pytest.mark.parametrize(
    "layout",
    [
        Layout("MJPEG", WIDE, HIGH, 0),
        Layout("RGB888", WIDE, HIGH, WIDE * 3 - 1),
        Layout("NV12", WIDE, HIGH, WIDE - 2),
        Layout("YUV420", WIDE + 1, HIGH, WIDE + 1),
        Layout("YUV420", WIDE, HIGH, WIDE + 1),
        Layout("RGB888", 0, 0, 0),
    ],
    ids=str,
)
def test_checked_impossible_layout_is_refused(layout: Layout) -> None:
    with pytest.raises(CameraError):
        check_layout(layout)
