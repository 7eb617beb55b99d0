"""The renderer of a scene at one time. Equal scene, size, seed and time give equal bits."""

import math
from functools import cache, lru_cache

import cv2
import numpy as np

from agent.camera.fitting import Pixels
from agent.camera.simulated.cutout import Cutout, Sprite
from agent.camera.simulated.scene import Person, Photo, Scene, SceneStep, load_photos

_KEPT_SPRITES = 6  # some megabytes each
_TURN_STEP = 5  # degrees
_SWAY = 0.002  # of the frame: a real person never stands completely still
_SWAY_MS = 1_700
_TILE_PX = 128  # the noise is one repeated tile, with a different offset for each frame


class SpriteCache:
    """A cache of cut-outs and sprites for several scenes: one cut-out takes tens of milliseconds.

    ``prepare(name)``: the cut-out of a photograph. Raises ``CameraError`` when it cannot be read.
    ``sprite(name, face height, turn, blur, length of the body below the face)``: a sprite. The turn is in
    degrees, the other numbers are in px.
    """

    def __init__(self, photos: dict[str, Photo] | None = None) -> None:
        photo_index = cache(lambda: photos or load_photos())  # a scene without people needs no photographs
        self.prepare = cache(lambda name: Cutout(photo_index()[name]))
        self.sprite = lru_cache(maxsize=_KEPT_SPRITES)(self._sprite)

    def _sprite(self, name: str, *sizes: int) -> Sprite:
        return self.prepare(name).sprite(*sizes)


class SensorNoise:
    """Gaussian noise of a fixed width and seed; equal ``key`` gives equal bits.

    Without noise, a still picture would count as a frozen camera.
    """

    def __init__(self, deviation: float, width_px: int, seed: int) -> None:
        """``deviation``: in levels of 255; 0 is no noise."""
        self._seed = seed
        self._strips = _strips(deviation, width_px, seed) if deviation > 0 else None

    def add_to(self, canvas: Pixels, key: int) -> None:
        """Add noise in place to an (H, W, 3) uint8 picture of the constructor's width and any height."""
        if self._strips is None:
            return
        dy, dx = np.random.default_rng((self._seed, key)).integers(0, _TILE_PX, 2)
        for top in range(-dy, len(canvas), _TILE_PX):
            rows = canvas[max(0, top) : top + _TILE_PX]
            first, right = max(0, -top), dx + canvas.shape[1]
            brighter, darker = (strip[first : first + len(rows), dx:right] for strip in self._strips)
            cv2.add(rows, brighter, dst=rows)
            cv2.subtract(rows, darker, dst=rows)


@lru_cache(maxsize=2)  # successive scenes share one sensor
def _strips(deviation: float, width_px: int, seed: int) -> tuple[Pixels, Pixels]:
    """The levels to add and to subtract: one tile high, one tile wider than the frame; read-only."""
    tile = np.random.default_rng((seed, 2)).standard_normal((_TILE_PX, _TILE_PX, 3), np.float32)
    noise = tile * np.float32(deviation)
    repeats = (1, -(-width_px // _TILE_PX) + 1, 1)
    brighter, darker = (np.clip(part, 0, 255).astype(np.uint8) for part in (noise, -noise))
    return np.tile(brighter, repeats), np.tile(darker, repeats)


class SceneRenderer:
    """One scene at one frame size."""

    def __init__(self, scene: Scene, width_px: int, height_px: int, seed: int, sprites: SpriteCache) -> None:
        """Makes the cut-outs of all people. Raises ``CameraError`` when a photograph cannot be read."""
        self.scene = scene
        self._seed = seed
        self._sprites = sprites
        self._empty = _backdrop(scene.backdrop, width_px, height_px, seed)
        self._noise = SensorNoise(scene.noise, width_px, seed)
        for person in scene.people:
            sprites.prepare(person.photo)

    def picture(self, at_ms: int) -> Pixels:
        """The picture ``at_ms`` after the scene's start: a new (H, W, 3) uint8 array, B,G,R."""
        canvas = self._empty.copy()
        for number, person in enumerate(self.scene.people):
            if step := person.at(at_ms):
                self._draw(canvas, person, step, phase=number + self._seed)
        if self.scene.light != 1.0:
            cv2.convertScaleAbs(canvas, dst=canvas, alpha=self.scene.light)
        self._noise.add_to(canvas, at_ms)
        return canvas

    def _draw(self, canvas: Pixels, person: Person, step: SceneStep, phase: int) -> None:
        height, width = canvas.shape[:2]
        face_px = max(4, round(step.face * height))
        turn = _TURN_STEP * round(step.turn / _TURN_STEP)
        blur_px, below_px = round(step.blur * face_px), round(0.75 * height)
        sprite = self._sprites.sprite(person.photo, face_px, turn, blur_px, below_px)
        sway = _SWAY * math.sin(2 * math.pi * step.at_ms / _SWAY_MS + phase)
        left = round((step.x + sway) * width - sprite.face_x_px)
        top = round((step.y + sway / 2) * height - sprite.face_y_px)
        _paste(canvas, sprite, left, top)


def _paste(canvas: Pixels, sprite: Sprite, left: int, top: int) -> None:
    """Draw a sprite, clipped to the canvas."""
    height, width = canvas.shape[:2]
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(width, left + sprite.colour.shape[1]), min(height, top + sprite.colour.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = canvas[y0:y1, x0:x1]
    window = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    cv2.multiply(part, sprite.through[window], dst=part, scale=1 / 255)
    cv2.add(part, sprite.colour[window], dst=part)


def _backdrop(kind: str, width_px: int, height_px: int, seed: int) -> Pixels:
    """An empty shop, out of focus: soft blobs of colour on a gradient."""
    random = np.random.default_rng((seed, 1))
    low, high, spread = {"shop": (90, 165, 30), "window": (235, 250, 8), "plain": (140, 140, 0)}[kind]
    rows = np.linspace(high, low, 9)[:, None, None]
    grey, tint = random.uniform(-spread, spread, (9, 16, 1)), random.uniform(-spread, spread, (9, 16, 3)) / 4
    coarse = rows + grey + tint
    levels = np.clip(coarse, 0, 255).astype(np.uint8)
    # bicubic for a quarter of the width only: bilinear from there differs by at most two levels
    coarse_px = -(-width_px // 4), -(-height_px // 4)
    smooth = cv2.resize(levels, coarse_px, interpolation=cv2.INTER_CUBIC)
    smooth = cv2.resize(smooth, (width_px, height_px), interpolation=cv2.INTER_LINEAR)
    return smooth.astype(np.uint8, copy=False)
