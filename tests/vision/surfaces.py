"""Pictures of a photograph as a flat print, as a print around a tube, and as a solid head.

A pinhole camera at ``distance_mm`` in front of the origin. Object coordinates are millimetres: x to the
right of the picture, y down, z towards the camera, the middle of the face at the origin. A positive yaw
turns the object to the payer's left, which is the right of the picture. The frame is rendered backwards:
for each pixel, the point of the photograph that the pixel shows. The map is computed for every fourth pixel
and interpolated.

Limits of the head: its depth is a model (an ellipsoid and a nose), not that of the person; nothing is
hidden behind the nose; light and expression do not change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.vision.people import Pixels, detector, photo

WIDE, HIGH, FOCAL_PX = 640, 360, 620.0
WALL = (90, 100, 95)
EYES_MM = 62.0
_STEP = 4  # pixels between two computed points of the map
_SIDE_MM, _ABOVE_MM, _BELOW_MM = 110.0, 120.0, 160.0  # size of a print around the middle of the face
_PIVOT_MM = 80.0  # the axis of a turning head, behind the eyes

Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Degrees and millimetres."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    distance_mm: float = 450.0
    x_mm: float = 0.0


@dataclass(frozen=True)
class Print:
    """A photograph with its scale. ``centre_px``: the point between the eyes and the mouth corners."""

    pixels: Pixels
    mm_per_px: float
    centre_px: tuple[float, float]


@cache
def printed(name: str, *, mirrored: bool = False) -> Print:
    """A shipped photograph, printed so that the face has its natural size."""
    picture = photo(name)
    if mirrored:
        picture = np.ascontiguousarray(picture[:, ::-1])
    marks = max(detector().detect(picture), key=lambda face: face.box.area_px).landmarks
    eyes_px = math.dist(
        (marks.right_eye.x_px, marks.right_eye.y_px), (marks.left_eye.x_px, marks.left_eye.y_px)
    )
    outer = (marks.right_eye, marks.left_eye, marks.right_mouth, marks.left_mouth)
    centre = sum(p.x_px for p in outer) / 4, sum(p.y_px for p in outer) / 4
    return Print(picture, EYES_MM / eyes_px, centre)


def rotation(pose: Pose) -> Grid:
    """(3, 3), from object coordinates to the coordinates of the camera."""
    matrix: Grid = np.eye(3)
    for degrees, axis in ((pose.roll, (0, 0, 1)), (pose.pitch, (1, 0, 0)), (pose.yaw, (0, 1, 0))):
        matrix = matrix @ cv2.Rodrigues(np.array(axis, float) * math.radians(degrees))[0]
    return matrix


def project(points_mm: Grid, pose: Pose) -> Grid:
    """(n, 3) object coordinates to (n, 2) pixels of the frame."""
    turned = points_mm @ rotation(pose).T + (pose.x_mm, 0.0, 0.0)
    scale = FOCAL_PX / (pose.distance_mm - turned[:, 2:])
    return np.array((WIDE / 2, HIGH / 2)) + turned[:, :2] * scale


def on_tube(points_mm: Grid, radius_mm: float) -> Grid:
    """(n, 2) points of a print to (n, 3) points on a tube with an upright axis, which the origin touches."""
    angle = points_mm[:, 0] / radius_mm
    return np.stack([radius_mm * np.sin(angle), points_mm[:, 1], radius_mm * (np.cos(angle) - 1)], 1)


def flat(picture: Print, pose: Pose) -> Pixels:
    """A frame with the flat print."""
    start, ray = _rays(pose)
    along = -start[2] / ray[..., 2]
    return _drawn(picture, start[0] + along * ray[..., 0], start[1] + along * ray[..., 1])


def bent(picture: Print, pose: Pose, radius_mm: float) -> Pixels:
    """A frame with the print around a tube; the tube turns about its own axis."""
    axis = np.array((0.0, 0.0, -radius_mm))
    start, ray = _rays(pose, axis - rotation(pose) @ axis)  # the axis, not the front, stays in place
    a = ray[..., 0] ** 2 + ray[..., 2] ** 2
    depth = start[2] + radius_mm
    b = start[0] * ray[..., 0] + depth * ray[..., 2]
    inside = b**2 - a * (start[0] ** 2 + depth**2 - radius_mm**2)
    along = (-b - np.sqrt(np.maximum(inside, 0.0))) / a
    x, z = start[0] + along * ray[..., 0], depth + along * ray[..., 2]
    around = np.where(inside >= 0, radius_mm * np.arctan2(x, z), 1e4)
    return _drawn(picture, around, start[1] + along * ray[..., 1])


def solid(picture: Print, pose: Pose) -> Pixels:
    """A frame with the photograph on a model of a head, which turns in front of its background."""
    facing = Pose(distance_mm=pose.distance_mm, x_mm=pose.x_mm)
    start, ray = _rays(facing)
    along = -start[2] / ray[..., 2]
    seen_x, seen_y = start[0] + along * ray[..., 0], start[1] + along * ray[..., 1]
    x, y = seen_x, seen_y
    for _ in range(8):  # the point that is seen here: a fixed point of the forward projection
        to_x, to_y = _moved(x, y, pose)
        x, y = x + 0.8 * (seen_x - to_x), y + 0.8 * (seen_y - to_y)
    return _drawn(picture, x, y, cropped=False)


def _moved(x: Grid, y: Grid, pose: Pose) -> tuple[Grid, Grid]:
    """Where a point of the head is seen in the plane of the facing photograph, mm."""
    z, share = _depth(x, y)
    turn = rotation(pose)
    points = np.stack([x, y, z + _PIVOT_MM], -1) @ turn.T
    front = z  # of the facing head, which shows the photograph as it is
    scale = (pose.distance_mm - front) / (pose.distance_mm - points[..., 2] + _PIVOT_MM)
    return x + share * (points[..., 0] * scale - x), y + share * (points[..., 1] * scale - y)


def _depth(x: Grid, y: Grid) -> tuple[Grid, Grid]:
    """(mm in front of the eyes, 0–1: the share that turns with the head; the rest is background)."""
    across, down = x / 80.0, (y + 5.0) / 115.0
    away = across**2 + down**2
    nose = 27.0 * np.exp(-((x / 13.0) ** 2 + ((y - 6.0) / 17.0) ** 2) / 2)
    depth = nose - 38.0 * (np.minimum(away, 1.5) - 0.16)
    return depth, np.clip(2.5 - 1.5 * away, 0.0, 1.0)


def noisy(frame: Pixels, dice: Random, sigma: float = 2.0) -> Pixels:
    """The frame with new sensor noise."""
    noise = np.roll(_noise(sigma), dice.randrange(HIGH), axis=0)
    return cv2.add(frame, noise, dtype=cv2.CV_8U).astype(np.uint8, copy=False)


@cache
def _noise(sigma: float) -> NDArray[np.int16]:
    return np.random.default_rng(1).normal(0, sigma, (HIGH, WIDE, 3)).astype(np.int16)


def _rays(pose: Pose, shift_mm: Grid | None = None) -> tuple[Grid, Grid]:
    """The camera and the direction of every fourth pixel, in object coordinates: (3,), (rows, columns, 3)."""
    across = (np.arange(0, WIDE + _STEP, _STEP) - WIDE / 2) / FOCAL_PX
    down = (np.arange(0, HIGH + _STEP, _STEP) - HIGH / 2) / FOCAL_PX
    grid = np.stack([*np.meshgrid(across, down), -np.ones((len(down), len(across)))], -1)
    turn = rotation(pose)
    origin = np.array((-pose.x_mm, 0.0, pose.distance_mm)) - (0.0 if shift_mm is None else shift_mm)
    return turn.T @ origin, grid @ turn


def _drawn(picture: Print, x: Grid, y: Grid, *, cropped: bool = True) -> Pixels:
    """The frame for a map of (x, y) mm; ``cropped``: to the size of a print."""
    size = x.shape[1] * _STEP, x.shape[0] * _STEP
    maps = []
    for number, grid in zip(picture.centre_px, (x, y), strict=True):
        small = (grid / picture.mm_per_px + number).astype(np.float32)
        # the centres of the coarse grid are its own pixels, not the middle of four
        shift = np.array([[_STEP, 0, 0], [0, _STEP, 0]], np.float32)
        maps.append(cv2.warpAffine(small, shift, size, borderMode=cv2.BORDER_REPLICATE)[:HIGH, :WIDE])
    frame = cv2.remap(picture.pixels, maps[0], maps[1], cv2.INTER_LINEAR, borderValue=WALL)
    if cropped:
        mm = [(m - c) * picture.mm_per_px for m, c in zip(maps, picture.centre_px, strict=True)]
        beyond = (np.abs(mm[0]) > _SIDE_MM) | (mm[1] < -_ABOVE_MM) | (mm[1] > _BELOW_MM)
        frame[beyond] = WALL
    return frame.astype(np.uint8, copy=False)
