"""Covers that are drawn on a photograph: masks, dark glasses, a hand, a telephone.

Each cover is a polygon at the landmarks, with one colour, the shading of the face below and noise. Limits: no
real cloth, no lenses with reflections, no straps or frames.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.core.model import Detection
from agent.core.policy import coordinates
from tests.vision.people import Pixels

Mask = NDArray[np.uint8]
Grid = NDArray[np.float64]
Cover = Callable[[Pixels, Detection], Pixels]

_MASK = [(0, 0.45), (0.55, 0.55), (0.95, 0.62), (0.95, 1.1), (0.6, 1.75), (0, 1.95)]  # the right half
_TELEPHONE = [(-0.4, 0.65), (0.7, 0.6), (0.7, 1.85), (-0.4, 1.85)]
_FINGERS = 4


def _points(face: Detection, places: list[tuple[float, float]]) -> Grid:
    """Places in eye distances across, and in distances from the eyes to the mouth down, as pixels."""
    right, left, _, right_mouth, left_mouth = np.array(coordinates(face.landmarks)).reshape(5, 2)
    across, middle = left - right, (right + left) / 2
    down = (right_mouth + left_mouth) / 2 - middle
    return np.array([middle + x * across + y * down for x, y in places])


def _eyes_px(face: Detection) -> float:
    return float(np.linalg.norm(np.subtract(*_points(face, [(0.5, 0), (-0.5, 0)]))))


def _drawn(bgr: Pixels, face: Detection, places: list[tuple[float, float]], colour: Grid) -> Pixels:
    area = np.zeros(bgr.shape[:2], np.uint8)
    cv2.fillPoly(area, [_points(face, places).round().astype(np.int32)], 1)
    return _painted(bgr, area, colour, _eyes_px(face))


def _painted(bgr: Pixels, area: Mask, colour: Grid, eyes_px: float) -> Pixels:
    """``colour`` with the shading of the face; the same noise for the same size."""
    rows, columns = (np.flatnonzero(area.any(axis)) for axis in (1, 0))
    reach = round(1.5 * eyes_px)
    part = tuple(slice(max(0, at[0] - reach), at[-1] + reach) for at in (rows, columns))
    near, area = bgr[part], area[part]
    shade = cv2.GaussianBlur(
        cv2.cvtColor(near, cv2.COLOR_BGR2GRAY).astype(np.float32), (0, 0), 0.35 * eyes_px
    )
    shade = np.clip(shade / max(1.0, float(shade[area > 0].mean())), 0.5, 1.6)
    noise = np.random.default_rng(1).normal(0, 3, near.shape)
    share = cv2.GaussianBlur(area.astype(np.float32), (0, 0), max(0.6, 0.02 * eyes_px))[..., None]
    out = bgr.copy()
    out[part] = np.clip(near * (1 - share) + share * (colour * shade[..., None] + noise), 0, 255)
    return out


def mask(*colour: float, pleat: float = 0.0) -> Cover:
    """A mask from the nose to the chin. ``pleat``: how dark its three folds are, 0–1."""

    def cover(bgr: Pixels, face: Detection) -> Pixels:
        whole = [*_MASK, *((-x, y) for x, y in reversed(_MASK[1:-1]))]
        out = _drawn(bgr, face, whole, np.array(colour))
        folds = np.zeros(bgr.shape[:2], np.uint8)
        for down in (0.73, 0.98, 1.23):
            ends = _points(face, [(-0.75, down), (0.75, down)]).round().astype(int)
            cv2.line(folds, ends[0].tolist(), ends[1].tolist(), 1, max(1, round(0.05 * _eyes_px(face))))
        soft = cv2.GaussianBlur(folds.astype(np.float32), (0, 0), 0.03 * _eyes_px(face))[..., None]
        return (out * (1 - pleat * soft)).astype(np.uint8) if pleat else out

    return cover


def glasses(*colour: float) -> Cover:
    def cover(bgr: Pixels, face: Detection) -> Pixels:
        area, eyes_px = np.zeros(bgr.shape[:2], np.uint8), _eyes_px(face)
        right, left = _points(face, [(-0.5, 0.06), (0.5, 0.06)])
        degrees = float(np.degrees(np.arctan2(*(left - right)[::-1])))
        for eye in (right, left):
            size = round(0.41 * eyes_px), round(0.32 * eyes_px)
            cv2.ellipse(area, eye.round().astype(int).tolist(), size, degrees, 0, 360, 1, -1)
        return _painted(bgr, area, np.array(colour), eyes_px)

    return cover


def telephone(bgr: Pixels, face: Detection) -> Pixels:
    return _drawn(bgr, face, _TELEPHONE, np.array((30.0, 30.0, 32.0)))


def hand(bgr: Pixels, face: Detection) -> Pixels:
    """Four fingers in the colour of the forehead, with dark gaps, across the mouth."""
    x_px, y_px = _points(face, [(0, -0.35)])[0].round().astype(int)
    skin = np.median(bgr[max(0, y_px - 4) : y_px + 5, max(0, x_px - 8) : x_px + 9].reshape(-1, 3), axis=0)
    out = bgr
    for number in range(_FINGERS):
        top = 0.6 + 0.23 * number
        finger = [(-0.7, top), (0.9, top - 0.02), (0.9, top + 0.21), (-0.7, top + 0.21)]
        gap = [(-0.7, top + 0.2), (0.9, top + 0.2), (0.9, top + 0.23), (-0.7, top + 0.23)]
        out = _drawn(_drawn(out, face, finger, skin), face, gap, 0.6 * skin)
    return out


COVERS: dict[str, Cover] = {
    "blue mask": mask(215, 180, 130),
    "blue mask, folds 10 % darker": mask(215, 180, 130, pleat=0.1),
    "blue mask, folds 25 % darker": mask(215, 180, 130, pleat=0.25),
    "white mask": mask(225, 225, 225),
    "white mask, folds 25 % darker": mask(225, 225, 225, pleat=0.25),
    "black mask": mask(40, 38, 38),
    "mask in the colour of skin": mask(150, 175, 205),
    "hand": hand,
    "telephone": telephone,
    "black glasses": glasses(16, 16, 18),
    "brown glasses": glasses(40, 52, 75),
    "mirror glasses": glasses(190, 160, 140),
}
