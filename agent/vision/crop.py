"""Crop of the payer's face with a margin, with bystanders blanked: the only pixels that leave the process."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import Box, Crop, Detection
from agent.errors import ImageError
from agent.texts import Text

Pixels = NDArray[np.uint8]
Rect = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom excluded

_GREY = 128
_SUBPIXEL_BITS = 4  # of the coordinates of cv2.ellipse
_SUBPIXELS = 1 << _SUBPIXEL_BITS
_BYSTANDER_MARGIN = 0.25  # of a bystander's box, on each side: covers hair and ears
_FACE_HEIGHT_PX = 300.0  # a larger face is scaled down: more pixels cost bytes without better comparison
_MIN_FACE_PX = 100.0  # minimum of the API, in both directions
_QUALITIES = (92, 85, 75, 60)
_LAST_QUALITIES = (45, 30, 15)  # only when the face has its minimum size
_SHRINK = 0.85


def crop_face(
    bgr: Pixels, face: Detection, others: tuple[Detection, ...], *, margin: float, max_bytes: int
) -> Crop:
    """Encode the payer's face.

    Args:
        bgr: (H, W, 3) uint8, the full-size frame; not changed.
        face: the payer. Where a bystander's box overlaps the payer's box, only the ellipse inside the payer's
            box is kept: the nearer face covers the bystander there, but not in the corners of the box.
        others: all other faces detected in the frame.
        margin: of the face box, on each side.
        max_bytes: of the JPEG. Reduced by quality first, then by scale, down to a face of 100 px.
    Raises:
        ImageError: ``image_undecodable`` (the face lies outside the frame), ``image_too_large`` (the limit
            cannot be reached).
    """
    area = _clipped_rect(_enlarged(face.box, margin), bgr)
    if area is None:
        raise ImageError(Text("detail.face_outside"))
    picture = _blanked(bgr, area, face.box, others)
    shortest = min(face.box.width_px, face.box.height_px)
    smallest = min(1.0, (_MIN_FACE_PX + 1.0) / shortest)  # one spare pixel: sizes are rounded
    scale = max(smallest, min(1.0, _FACE_HEIGHT_PX / face.box.height_px))
    while True:
        is_smallest = scale <= smallest
        crop = _encode_within(
            picture, scale, max_bytes, _QUALITIES + _LAST_QUALITIES if is_smallest else _QUALITIES
        )
        if crop is not None:
            return crop
        if is_smallest:
            raise ImageError(Text("detail.crop_too_large", max_bytes=max_bytes), code="image_too_large")
        scale = max(smallest, scale * _SHRINK)


def _enlarged(box: Box, share: float) -> Box:
    dx, dy = share * box.width_px, share * box.height_px
    return Box(box.x_px - dx, box.y_px - dy, box.width_px + 2 * dx, box.height_px + 2 * dy)


def _clipped_rect(box: Box, bgr: Pixels) -> Rect | None:
    """The box in whole pixels, clipped to the picture; None for an empty area."""
    height, width = bgr.shape[:2]
    left, top = max(0, math.floor(box.x_px)), max(0, math.floor(box.y_px))
    right = min(width, math.ceil(box.x_px + box.width_px))
    bottom = min(height, math.ceil(box.y_px + box.height_px))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _blanked(bgr: Pixels, area: Rect, payer: Box, others: tuple[Detection, ...]) -> Pixels:
    """A copy of the area with every bystander grey, except inside the ellipse of the payer's face."""
    left, top, right, bottom = area
    canvas = bgr[top:bottom, left:right].copy()
    for other in others:
        if grey_rect := _clipped_rect(_shifted(_enlarged(other.box, _BYSTANDER_MARGIN), left, top), canvas):
            canvas[grey_rect[1] : grey_rect[3], grey_rect[0] : grey_rect[2]] = _GREY
    if others:
        payer_ellipse = _ellipse(_shifted(payer, left, top), canvas)
        cv2.copyTo(bgr[top:bottom, left:right], payer_ellipse, canvas)
    return canvas


def _ellipse(box: Box, canvas: Pixels) -> Pixels:
    """(h, w) uint8 of the canvas' size: 255 inside the ellipse that fills the box, 0 elsewhere."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    centre = round(box.centre.x_px * _SUBPIXELS), round(box.centre.y_px * _SUBPIXELS)
    axes = round(box.width_px / 2 * _SUBPIXELS), round(box.height_px / 2 * _SUBPIXELS)
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, cv2.FILLED, cv2.LINE_8, _SUBPIXEL_BITS)
    return mask


def _shifted(box: Box, left: int, top: int) -> Box:
    return Box(box.x_px - left, box.y_px - top, box.width_px, box.height_px)


def _encode_within(picture: Pixels, scale: float, max_bytes: int, qualities: tuple[int, ...]) -> Crop | None:
    """The first encoding that fits, or None."""
    height, width = (max(1, math.ceil(side * scale)) for side in picture.shape[:2])
    scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) if scale < 1.0 else picture
    for quality in qualities:
        is_encoded, jpeg = cv2.imencode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if is_encoded and jpeg.size <= max_bytes:
            return Crop(jpeg.tobytes(), width, height)
    return None


def square_around(bgr: Pixels, face: Detection, scale: float) -> Pixels:
    """A square around the face, ``scale`` times the longer side of the box.

    At the edge of the frame the square is shifted into the frame. A square larger than the frame is reduced.
    So the picture is never squashed: models of this kind are trained on squares, and refuse squashed faces.
    """
    height, width = bgr.shape[:2]
    box, middle = face.box, face.box.centre
    if (
        box.x_px >= width
        or box.y_px >= height
        or box.x_px + box.width_px <= 0
        or box.y_px + box.height_px <= 0
    ):
        return bgr[:0, :0]
    side = min(width, height, max(1, round(scale * max(box.width_px, box.height_px))))
    left = min(max(0, round(middle.x_px - side / 2)), width - side)
    top = min(max(0, round(middle.y_px - side / 2)), height - side)
    return bgr[top : top + side, left : left + side]
