"""People cut out of photographs: head and shoulders with a soft edge, at any size, turned by any angle."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from agent import resources
from agent.camera.scene import Photo
from agent.errors import CameraError

Pixels = NDArray[np.uint8]

_WORK_FACE_PX = 48  # the outline is searched at this face height: enough for an edge that is softened anyway
_ROUNDS = 4
_OPENCV_RNG = threading.Lock()  # grabCut draws from OpenCV's generator; seeded, so scenes repeat to the bit


@dataclass(frozen=True, slots=True)
class Sprite:
    """Ready to draw: colours already multiplied with the coverage, and what shines through."""

    colour: Pixels  # (h, w, 3)
    through: Pixels  # (h, w, 3), 255 minus coverage
    face_x_px: float
    face_y_px: float


class Cutout:
    """One person. Coordinates are those of the cut-out region of the photograph."""

    def __init__(self, photo: Photo) -> None:
        """Raises ``CameraError`` when the photograph cannot be read."""
        path = resources.data("photos") / photo.file
        whole = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if whole is None:
            raise CameraError(f"{path}: not a readable picture", fix="Reinstall the package.")
        x, y, wide, high = photo.face
        centre_x = x + wide / 2
        left, top = max(0, round(centre_x - 1.5 * high)), max(0, round(y - 0.6 * high))
        right, bottom = round(centre_x + 1.5 * high), round(y + 3 * high)
        self._bgr = _u8(whole[top:bottom, left:right])
        self._face = (centre_x - left, y + high / 2 - top, wide, high)
        self._alpha = _coverage(self._bgr, self._face)

    def sprite(self, face_height_px: int, turn: int, blur_px: int) -> Sprite:
        """The person with a face of that height, head turned by ``turn`` degrees to the picture's right."""
        scale = face_height_px / self._face[3]
        size = tuple(max(1, round(side * scale)) for side in self._alpha.shape[::-1])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        colour = _u8(cv2.resize(self._bgr, size, interpolation=method))
        alpha = cv2.resize(self._alpha, size, interpolation=cv2.INTER_LINEAR)
        face = tuple(number * scale for number in self._face)
        if turn:
            colour = _turned(colour, face, turn)
        if blur_px:
            colour = _u8(cv2.GaussianBlur(colour, (0, 0), blur_px))
            alpha = cv2.GaussianBlur(alpha, (0, 0), blur_px)
        solid = cv2.merge([alpha, alpha, alpha])
        return Sprite(_u8(cv2.multiply(colour, solid, scale=1 / 255)), _u8(255 - solid), face[0], face[1])


def _coverage(bgr: Pixels, face: tuple[float, ...]) -> Pixels:
    """How much of each pixel belongs to the person, 0–255: grabCut from a rough head and torso."""
    scale = _WORK_FACE_PX / face[3]
    small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    labels = _rough_person(small.shape[:2], *(number * scale for number in face))
    with _OPENCV_RNG:
        cv2.setRNGSeed(1)
        cv2.grabCut(
            small, labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK
        )
    person = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    soft = cv2.resize(cv2.GaussianBlur(person, (0, 0), 1.0), bgr.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return _u8(np.clip((soft - 0.3) * 510, 0, 255))


def _rough_person(shape: tuple[int, ...], x: float, y: float, wide: float, high: float) -> Pixels:
    """grabCut's labels before it starts: sure background, maybe, sure head and chest."""
    labels = np.full(shape, cv2.GC_BGD, np.uint8)
    bottom = shape[0]

    def ellipse(width: float, height: float, label: int) -> None:
        axes = (round(width * wide), round(height * high))
        cv2.ellipse(labels, (round(x), round(y - 0.05 * high)), axes, 0, 0, 360, label, -1)

    def torso(neck: float, shoulder: float, top: float, label: int) -> None:
        corners = [
            (-neck, top),
            (neck, top),
            (shoulder, 1.4),
            (shoulder, 99),
            (-shoulder, 99),
            (-shoulder, 1.4),
        ]
        points = [(x + dx * high, min(bottom, y + dy * high)) for dx, dy in corners]
        cv2.fillPoly(labels, [np.array(points, np.int32)], label)

    labels[round(y + 0.6 * high) :] = cv2.GC_PR_BGD
    ellipse(0.9, 0.85, cv2.GC_PR_BGD)
    ellipse(0.62, 0.62, cv2.GC_PR_FGD)
    torso(0.45, 1.1, 0.75, cv2.GC_PR_FGD)
    ellipse(0.45, 0.5, cv2.GC_FGD)
    torso(0.2, 0.7, 0.5, cv2.GC_FGD)
    return labels


def _turned(bgr: Pixels, face: tuple[float, ...], turn: int) -> Pixels:
    """The head as a cylinder, rotated; what comes round from behind is hair. Below the chin nothing turns."""
    centre_x, centre_y, _, high = face
    rows, columns = np.indices(bgr.shape[:2], np.float32)
    offset = (columns - centre_x) / (0.62 * high)
    below_chin = np.clip((rows - centre_y) / high * 4 - 2, 0, 1)  # 0 at the chin, 1 a quarter face lower
    angle = np.arcsin(np.clip(offset, -1, 1)) - np.radians(turn) * (1 - below_chin)
    angle = np.where(np.abs(offset) < 1, angle, 0)
    behind = np.abs(angle) > np.pi / 2
    from_x = np.where(np.abs(offset) < 1, centre_x + 0.62 * high * np.sin(angle), columns)
    hair_y = centre_y - 0.55 * high + (rows - centre_y) * 0.1
    from_y = np.where(behind, hair_y, rows)
    from_x = np.where(behind, centre_x + 0.3 * (from_x - centre_x), from_x)
    maps = from_x.astype(np.float32), from_y.astype(np.float32)
    return _u8(cv2.remap(bgr, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _u8(array: NDArray[np.generic]) -> Pixels:
    return array.astype(np.uint8, copy=False)
