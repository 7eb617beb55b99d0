"""Face detection in the region around the last face, between two detections in the whole frame.

The result is one plausible face or None. A person outside the region is not detected, so no shot is made from
a face that was found here.
"""

import math
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.core.model import Box, Detection, Landmarks, Point
from agent.core.policy import coordinates, is_well_formed

Pixels = NDArray[np.uint8]
Square = tuple[int, int, int]  # left, top, side

_REGION = 2.0  # of the longer side of the face box: leaving this square within one frame is a jump
_INPUT_PX = 96  # the face is about 48 px wide; YuNet works in steps of 32 px, so 112 costs as much as 128
_MIN_EYES = 0.1  # eye distance divided by the width of the face box: closer eyes are implausible


class FaceDetector(Protocol):
    """The part of a detector that the analyzer needs."""

    def detect(self, bgr: Pixels, width_px: int | None = None) -> tuple[Detection, ...]:
        """All faces of one (H, W, 3) uint8 picture, in pixels of the picture. ``width_px``: of the input."""


class Follower:
    """Stores one square of the frame. In a frame of another size no face is found."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._square: Square | None = None
        self._shape: tuple[int, ...] = ()
        self._others: tuple[Detection, ...] = ()

    def stop(self) -> None:
        """Follow no face."""
        self._square = None

    def start(self, face: Detection, others: tuple[Detection, ...], bgr: Pixels) -> None:
        """Follow this face, which was found in the whole frame ``bgr`` together with ``others``."""
        self._others = others
        self._shape = bgr.shape
        self.move(face)

    def move(self, face: Detection) -> None:
        """Move the region to this face.

        Stop following if another face is so near that both would be found.
        """
        square = _square_around(face.box, self._shape)
        is_other_near = square is not None and any(_touches(square, other.box) for other in self._others)
        self._square = None if is_other_near else square

    def find(self, bgr: Pixels) -> Detection | None:
        """The one plausible face in the region, in pixels of the frame; None when the region does not decide.

        Raises:
            ModelError: ``model_unusable``, the detector failed.
        """
        if self._square is None or bgr.shape != self._shape:
            return None
        left, top, side = self._square
        faces = self._detector.detect(bgr[top : top + side, left : left + side], _INPUT_PX)
        if len(faces) != 1 or not is_plausible(faces[0]):
            return None
        return _shifted(faces[0], left, top)


def is_plausible(face: Detection) -> bool:
    """Whether five landmarks form a face: inside the box, eyes apart, the mouth below the eyes.

    A profile or a head on its side may fail. Then the whole frame is analyzed instead.
    """
    if not is_well_formed(face):
        return False
    box, marks = face.box, face.landmarks
    xs, ys = coordinates(marks)[0::2], coordinates(marks)[1::2]
    inside = (
        box.x_px <= min(xs)
        and max(xs) <= box.x_px + box.width_px
        and box.y_px <= min(ys)
        and max(ys) <= box.y_px + box.height_px
    )
    right, left = marks.right_eye, marks.left_eye
    eyes = math.hypot(left.x_px - right.x_px, left.y_px - right.y_px)
    upright = right.y_px + left.y_px < marks.right_mouth.y_px + marks.left_mouth.y_px
    return inside and eyes >= _MIN_EYES * box.width_px and upright


def _square_around(box: Box, shape: tuple[int, ...]) -> Square | None:
    """A square inside the frame around the box; None when the frame or the face is too small.

    The side is a whole multiple of the network's input: scaling by a whole number is three times faster, and
    the input size stays the same. A change of the input size needs 0.5 ms.
    """
    height, width = shape[:2]
    longer = max(box.width_px, box.height_px)
    multiple = min(math.ceil(_REGION * longer / _INPUT_PX), min(width, height) // _INPUT_PX)
    side = multiple * _INPUT_PX
    if side < longer or multiple < 1:
        return None
    left = min(max(0, round(box.centre.x_px - side / 2)), width - side)
    top = min(max(0, round(box.centre.y_px - side / 2)), height - side)
    return left, top, side


def _touches(square: Square, box: Box) -> bool:
    left, top, side = square
    return (
        box.x_px < left + side
        and box.x_px + box.width_px > left
        and box.y_px < top + side
        and box.y_px + box.height_px > top
    )


def _shifted(face: Detection, left: int, top: int) -> Detection:
    numbers = coordinates(face.landmarks)
    points = [Point(numbers[i] + left, numbers[i + 1] + top) for i in range(0, 10, 2)]
    box = replace(face.box, x_px=face.box.x_px + left, y_px=face.box.y_px + top)
    return Detection(box, Landmarks(*points), face.confidence)
