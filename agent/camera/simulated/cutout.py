"""Cut-outs of people from photographs: head and shoulders with a soft edge, at any size and head angle."""

import math
import threading
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from agent import resources
from agent.camera.fitting import Pixels
from agent.camera.simulated.scene import Photo
from agent.errors import CameraError
from agent.texts import Text

_WORK_FACE_PX = 48  # face height for the search of the outline: enough for a softened edge
_ROUNDS = 4
_FEATHER = 6  # px at that size
_NOSE = 0.25  # length of a nose, in radii of the head
_OPENCV_RNG = threading.Lock()  # grabCut uses OpenCV's random generator; a fixed seed makes equal bits


@dataclass(frozen=True, slots=True)
class Sprite:
    """A cut-out that is ready to draw."""

    colour: Pixels  # (h, w, 3), multiplied with the coverage
    through: Pixels  # (h, w, 3), 255 minus coverage: the share of the background
    face_x_px: float
    face_y_px: float


class Cutout:
    """One person. Coordinates are relative to the cut-out region of the photograph."""

    def __init__(self, photo: Photo) -> None:
        """Raises ``CameraError`` when the photograph cannot be read."""
        path = resources.data("photos") / photo.file
        whole = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if whole is None:
            raise CameraError(Text("detail.not_a_picture", path=path), fix=Text("fix.reinstall_package"))
        x, y, face_width, face_height = photo.face
        centre_x = x + face_width / 2
        left, top = max(0, round(centre_x - 1.5 * face_height)), max(0, round(y - 0.6 * face_height))
        part = _u8(whole[top : round(y + 3 * face_height), left : round(centre_x + 1.5 * face_height)])
        face = (centre_x - left, y + face_height / 2 - top, face_width, face_height)
        legs = round(2 * face_height)  # the last row is repeated: otherwise distant people would have no legs
        self._bgr = _u8(cv2.copyMakeBorder(part, 0, legs, 0, 0, cv2.BORDER_REPLICATE))
        coverage = _coverage(part, face, photo.head)
        self._alpha = _u8(cv2.copyMakeBorder(coverage, 0, legs, 0, 0, cv2.BORDER_REPLICATE))
        self._face = face

    def sprite(self, face_height_px: int, turn: int, blur_px: int, below_px: int) -> Sprite:
        """The person with a face of this height, head turned by ``turn`` degrees to the picture's right.

        ``below_px``: length of the body below the face's centre.
        """
        scale = face_height_px / self._face[3]
        face = tuple(number * scale for number in self._face)
        rows = min(len(self._alpha), math.ceil((face[1] + below_px) / scale))
        size = (max(1, round(self._alpha.shape[1] * scale)), max(1, round(rows * scale)))
        method = cv2.INTER_AREA if scale < 0.7 else cv2.INTER_LINEAR
        colour = _u8(cv2.resize(self._bgr[:rows], size, interpolation=method))
        alpha = cv2.resize(self._alpha[:rows], size, interpolation=cv2.INTER_LINEAR)
        if turn:
            _turn(colour, face, turn)
        if blur_px:
            colour = _u8(cv2.GaussianBlur(colour, (0, 0), blur_px))
            alpha = cv2.GaussianBlur(alpha, (0, 0), blur_px)
        solid = cv2.merge([alpha, alpha, alpha])
        return Sprite(_u8(cv2.multiply(colour, solid, scale=1 / 255)), _u8(255 - solid), face[0], face[1])


def _coverage(bgr: Pixels, face: tuple[float, ...], head: float) -> Pixels:
    """The person's share of each pixel, 0–255: grabCut, starting from a rough head and torso."""
    scale = _WORK_FACE_PX / face[3]
    small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    labels = _rough_person(small.shape[:2], tuple(number * scale for number in face), head)
    with _OPENCV_RNG:
        cv2.setRNGSeed(1)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(small, labels, (0, 0, 0, 0), *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    person = _largest_piece(np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8))
    edge = np.minimum(np.arange(person.shape[1]), np.arange(person.shape[1])[::-1])
    person = person * np.clip(edge / _FEATHER, 0, 1)  # softens a shoulder at the photograph's edge
    soft = cv2.resize(cv2.GaussianBlur(person, (0, 0), 1.0), bgr.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return _u8(np.clip((soft - 0.3) * 510, 0, 255))


def _largest_piece(mask: Pixels) -> Pixels:
    """The mask without islands, and without pieces that are connected by a thin line."""
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    pieces, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    if pieces < 2:
        return mask
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return _u8((labels == largest).astype(np.uint8))


def _rough_person(shape: tuple[int, ...], face: tuple[float, ...], head: float) -> Pixels:
    """grabCut's initial labels: certain background, probable, certain head and chest."""
    labels = np.full(shape, cv2.GC_BGD, np.uint8)
    x, y, face_width, face_height = face
    bottom = shape[0]

    def ellipse(width: float, height: float, label: int) -> None:
        axes = (round(width * face_width), round(height * face_height))
        cv2.ellipse(labels, (round(x), round(y - 0.05 * face_height)), axes, 0, 0, 360, label, -1)

    def torso(neck: float, shoulder: float, top: float, label: int) -> None:
        corners = [(neck, top), (shoulder, 1.4), (shoulder, 99)]
        corners += [(-across, down) for across, down in reversed(corners)]
        points = [(x + dx * face_height, min(bottom, y + dy * face_height)) for dx, dy in corners]
        cv2.fillPoly(labels, [np.array(points, np.int32)], label)

    labels[round(y + 0.6 * face_height) :] = cv2.GC_PR_BGD
    ellipse(head, 0.85, cv2.GC_PR_BGD)
    ellipse(min(0.65, head - 0.05), 0.65, cv2.GC_PR_FGD)
    torso(0.45, 1.1, 0.75, cv2.GC_PR_FGD)
    ellipse(0.45, 0.5, cv2.GC_FGD)
    torso(0.2, 0.7, 0.5, cv2.GC_FGD)
    return labels


def _turn(bgr: Pixels, face: tuple[float, ...], turn: int) -> None:
    """Rotate the head in place, as a cylinder; the part from behind gets the colour of the hair."""
    centre_x, centre_y, face_width, face_height = face
    radius = 0.6 * face_width
    top, bottom = max(0, round(centre_y - 0.9 * face_height)), round(centre_y + 0.65 * face_height)
    left, right = max(0, math.ceil(centre_x - radius)), math.floor(centre_x + radius)
    head = bgr[top:bottom, left:right]
    down = np.arange(top, top + len(head), dtype=np.float32)[:, None] - np.float32(centre_y)
    across = np.arange(left, left + head.shape[1], dtype=np.float32)[None, :] - np.float32(centre_x)
    above_chin = np.clip(5 - down / face_height * 8, 0, 1)  # 1 at the chin, 0 an eighth of the face lower
    angle = np.arcsin(across / radius) - math.radians(turn) * above_chin
    shift = math.sin(math.radians(turn)) * radius
    nose = np.exp(-(((across - shift) / (0.15 * face_width)) ** 2)) * np.exp(
        -((down / (0.2 * face_height)) ** 2)
    )
    from_x = radius * np.sin(angle) - _NOSE * shift * nose + centre_x
    from_y = np.broadcast_to(down + np.float32(centre_y), from_x.shape)
    turned = cv2.remap(bgr, from_x.astype(np.float32), from_y.copy(), cv2.INTER_LINEAR)
    crown = bgr[max(0, round(centre_y - 0.6 * face_height)) : round(centre_y - 0.52 * face_height)]
    hair = crown[:, round(centre_x - 0.2 * face_width) : round(centre_x + 0.2 * face_width)].mean(axis=(0, 1))
    behind = np.clip((np.abs(angle) - 1.2) * 4, 0, 1).astype(np.float32)
    head[:] = cv2.blendLinear(turned, np.full_like(turned, hair), 1 - behind, behind)


def _u8(array: NDArray[np.generic]) -> Pixels:
    return array.astype(np.uint8, copy=False)
