"""Drawing of an analysis on a small copy of the frame, for a technician's explicit request. Pure.

A picture for a file has texts: the stable codes, because OpenCV's fonts contain no Chinese. The live view has
none: the page shows ``analysis_facts`` as text of its own, in the reader's language and size.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.guidance import ShownHint, next_hint
from agent.core.model import Analysis, Box, Quality
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.errors import ImageError
from agent.texts import Text

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

WIDTH_PX = 640  # approximate: shrinking by a whole divisor is several times faster
_GOOD, _NOT_YET, _OTHER, _ZONE = (90, 220, 90), (60, 180, 255), (170, 170, 170), (220, 200, 80)
_BAD, _WHITE, _BLACK = (80, 80, 255), (255, 255, 255), (0, 0, 0)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
_ROW_PX, _BAR_PX, _LABEL_PX, _EDGE_PX = 14, 60, 128, 6
_STRIP_PX = 24
_NOTICE_HEIGHT_PX, _NOTICE_SCALE_MAX, _NOTICE_SHARE = 360, 1.2, 0.92  # of the width
_SMALLEST_PX = 64
_DIM = 0.45
_SENDABLE = (FrameReason.SHOT, FrameReason.FOLLOWED)

# measure of ``Quality`` -> label of its bar
_BARS = {
    "inter_eye_distance": "eye distance",
    "head_pose_yaw": "yaw",
    "head_pose_pitch": "pitch",
    "head_pose_roll": "roll",
    "sharpness": "sharpness",
    "under_exposure_prevention": "not too dark",
    "over_exposure_prevention": "not too bright",
    "dynamic_range": "contrast",
    "illumination_uniformity": "even light",
    "crop_margins": "margins",
    "eyes_visible": "eyes visible",
    "mouth_occlusion_prevention": "mouth visible",
}


def annotate(pixels: object, analysis: Analysis, limits: PolicyLimits, *, texts: bool = True) -> Pixels:
    """A small copy of a frame with the facts of the decision: a new array, the frame is not changed.

    Drawn: the payer zone, each detected face (the face that counts with landmarks, green for a usable shot).
    With ``texts`` also a bar for each quality measure with its limit as a tick, reason and guidance.

    Args:
        pixels: (H, W, 3) uint8, B,G,R, at least 64 × 64.
        analysis: of this frame or of a frame shortly before; boxes in the full frame's pixels. Without a
            face: no boxes, no bars.
        limits: the policy in force.
    Returns:
        (h, w, 3) uint8, w about 640, never enlarged.
    Raises:
        ImageError: no such picture.
    """
    picture, scale = shrink(checked_pixels(pixels, "detail.frame_too_small"))
    _zone(picture, limits)
    for other in analysis.others:
        _box(picture, other.box, scale, _OTHER)
    if analysis.face is not None:
        colour = _GOOD if analysis.reason in _SENDABLE else _NOT_YET
        _box(picture, analysis.face.box, scale, colour)
        marks = analysis.face.landmarks
        for point in (marks.right_eye, marks.left_eye, marks.nose, marks.right_mouth, marks.left_mouth):
            cv2.circle(picture, _clipped(picture, point.x_px * scale, point.y_px * scale), 3, colour, -1)
    if not texts:
        return picture
    if analysis.quality is not None:
        _bars(picture, analysis.quality, limits)
    hint = guidance_of(analysis)
    strip = picture[-_STRIP_PX:]
    cv2.convertScaleAbs(strip, dst=strip, alpha=_DIM)
    text = f"{analysis.reason} -> {hint}" if hint else str(analysis.reason)
    _write(strip, text, _EDGE_PX, strip.shape[0] - 8, 0.5)
    return picture


def checked_pixels(pixels: object, too_small: str) -> Pixels:
    """``pixels`` if they are (H, W, 3) uint8, at least 64 × 64; else raise ``ImageError``.

    ``too_small``: key of the text for a picture that is too small.
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise ImageError(Text("detail.frame_without_picture"))
    if pixels.shape[2] != 3 or min(pixels.shape[:2]) < _SMALLEST_PX:
        raise ImageError(Text(too_small))
    return pixels


def analysis_facts(analysis: Analysis, limits: PolicyLimits) -> dict[str, object]:
    """The same facts as plain values for JSON.

    ``reason`` and ``guidance`` (may be empty) are codes. ``measures``: a row for each quality measure with
    ``name``, ``value`` and ``limit`` (0–100) and ``is_good``; empty without a face.
    """
    rows = [] if analysis.quality is None else _measures(analysis.quality, limits)
    measures = [
        {"name": name, "value": round(value), "limit": round(limit), "is_good": value >= limit}
        for name, value, limit in rows
    ]
    return {"reason": analysis.reason, "guidance": guidance_of(analysis), "measures": measures}


def _measures(quality: Quality, limits: PolicyLimits) -> list[tuple[str, float, float]]:
    """(name, value, limit) of each measure and of the score."""
    rows = [(name, getattr(quality, name), getattr(limits, f"min_{name}")) for name in _BARS]
    return [*rows, ("score", quality.score, limits.excellent_score)]


def guidance_of(analysis: Analysis) -> str:
    """The guidance that a payer would receive for this frame alone; empty without guidance."""
    return str(next_hint(ShownHint(), analysis, 0).guidance or "")


def notice_picture(text: str) -> bytes:
    """A grey JPEG with a text, shown in place of a picture. The text is as large as fits, for a phone."""
    picture = np.full((_NOTICE_HEIGHT_PX, WIDTH_PX, 3), 48, np.uint8)
    (width, _), _ = cv2.getTextSize(text, _FONT, 1.0, 2)
    scale = min(_NOTICE_SCALE_MAX, _NOTICE_SHARE * WIDTH_PX / max(1, width))
    place = (max(0, round(WIDTH_PX - scale * width) // 2), _NOTICE_HEIGHT_PX // 2)
    cv2.putText(picture, text, place, _FONT, scale, _WHITE, 2, cv2.LINE_AA)
    return jpeg_of(picture)


def jpeg_of(picture: Pixels, quality: int = 70) -> bytes:
    """JPEG bytes, encoded in memory. Raises ``ImageError`` for an array that is no picture."""
    done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(Text("detail.picture_not_encoded"))
    return jpeg.tobytes()


def shrink(pixels: Pixels) -> tuple[Pixels, float]:
    """(a copy of about ``WIDTH_PX``, the scale of the copy)."""
    height, width = pixels.shape[:2]
    divisor = max(1, round(width / WIDTH_PX))
    if divisor == 1:
        return pixels.copy(), 1.0
    size = (max(1, width // divisor), max(1, height // divisor))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), size[0] / width


def _zone(picture: Pixels, limits: PolicyLimits) -> None:
    height, width = picture.shape[:2]
    first = round(limits.zone_left * (width - 1)), round(limits.zone_top * (height - 1))
    last = round(limits.zone_right * (width - 1)), round(limits.zone_bottom * (height - 1))
    cv2.rectangle(picture, first, last, _ZONE, 1)


def _box(picture: Pixels, box: Box, scale: float, colour: Colour) -> None:
    first = _clipped(picture, box.x_px * scale, box.y_px * scale)
    last = _clipped(picture, (box.x_px + box.width_px) * scale, (box.y_px + box.height_px) * scale)
    cv2.rectangle(picture, first, last, colour, 2)


def _clipped(picture: Pixels, x: float, y: float) -> tuple[int, int]:
    """The point, moved near the picture: a distant or non-finite point would overflow OpenCV's integers."""
    height, width = picture.shape[:2]
    near = np.nan_to_num(np.clip((x, y), (-width, -height), (2 * width, 2 * height)))
    return round(float(near[0])), round(float(near[1]))


def _bars(picture: Pixels, quality: Quality, limits: PolicyLimits) -> None:
    rows = _measures(quality, limits)
    height, width = _EDGE_PX * 2 + _ROW_PX * len(rows), _EDGE_PX * 2 + _LABEL_PX + _BAR_PX
    panel = picture[:height, :width]
    cv2.convertScaleAbs(panel, dst=panel, alpha=_DIM)
    for number, (name, value, limit) in enumerate(rows):
        y = _EDGE_PX + _ROW_PX * number
        _write(panel, f"{_BARS.get(name, name)} {value:.0f}", _EDGE_PX, y + 10)
        left, is_score = _EDGE_PX + _LABEL_PX, name == "score"
        long = round(_BAR_PX * min(100.0, max(0.0, value)) / 100)
        colour = _GOOD if value >= limit else _NOT_YET if is_score else _BAD
        cv2.rectangle(panel, (left, y + 3), (left + _BAR_PX, y + 10), _OTHER, 1)
        cv2.rectangle(panel, (left, y + 3), (left + long, y + 10), colour, -1)
        tick = left + round(_BAR_PX * limit / 100)
        cv2.line(panel, (tick, y + 1), (tick, y + 12), _WHITE, 1)


def _write(picture: Pixels, text: str, x: int, y: int, size: float = _FONT_SCALE) -> None:
    cv2.putText(picture, text, (x + 1, y + 1), _FONT, size, _BLACK, 1, cv2.LINE_AA)
    cv2.putText(picture, text, (x, y), _FONT, size, _WHITE, 1, cv2.LINE_AA)
