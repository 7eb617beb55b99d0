"""Scaling a picture down to the input of a network: halvings first, then one area resize for the rest.

Each output pixel is a mean of all its input pixels. Bilinear sampling of a 4 times smaller picture skips
pixels, so small faces are missed. OpenCV has vector code for the mean of 2 × 2 pixels, and none for larger
areas: two halvings of a 1280 × 720 frame cost a third of one area resize by four (0.3 against 1.0 ms).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Size = tuple[int, int]  # width, height


class Scaler:
    """Keeps one buffer for each step, because a new large array costs page faults. Not thread-safe."""

    def __init__(self) -> None:
        self._buffers: dict[Size, Pixels] = {}
        self._steps: tuple[Size, ...] = ()

    def scaled(self, picture: Pixels, size: Size) -> Pixels:
        """The picture with another size, valid until the next call; the picture itself if nothing changes.

        Args:
            picture: (H, W, 3) uint8.
            size: not larger than the picture, at least 1 × 1.
        """
        steps = steps_of((picture.shape[1], picture.shape[0]), size)
        if steps != self._steps:  # another kind of frame: the old buffers would keep a picture
            self._steps = steps
            self._buffers = {step: np.empty((step[1], step[0], 3), np.uint8) for step in steps}
        for step in steps:
            buffer = self._buffers[step]
            cv2.resize(picture, step, dst=buffer, interpolation=cv2.INTER_AREA)
            picture = buffer
        return picture

    def wipe(self) -> None:
        """Overwrite the last picture in all buffers."""
        for buffer in self._buffers.values():
            buffer.fill(0)


def steps_of(size: Size, target: Size) -> tuple[Size, ...]:
    """The sizes from ``size`` down to ``target``, without ``size``; empty if both are the same."""
    steps = list[Size]()
    wide, high = size
    while wide % 2 == 0 and high % 2 == 0 and wide >= 2 * target[0] and high >= 2 * target[1]:
        wide, high = wide // 2, high // 2
        steps.append((wide, high))
    if (wide, high) != target:
        steps.append(target)
    return tuple(steps)
