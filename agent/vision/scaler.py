"""Scaling a picture down to the input of a network: halvings first, then one step of less than two.

No input pixel is skipped. Bilinear sampling of a 4 times smaller picture skips pixels, so small faces are
missed; below a factor of two the four sampled pixels touch each other. OpenCV has vector code for the mean of
2 × 2 pixels and for bilinear sampling, and none for the mean of other areas. Instructions, counted: 3.8
million for two halvings of a 1280 × 720 frame; 1.3 million for 480 × 480 to 96 × 96, as one area 3.7 million.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Size = tuple[int, int]  # width, height

_STEP_MAX_PX = 1_500_000  # limits the buffers for a photograph of a phone to 6 MB; no camera frame reaches it


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
            is_halving = picture.shape[1] == 2 * step[0] and picture.shape[0] == 2 * step[1]
            is_coarse = picture.shape[1] > 2 * step[0] or picture.shape[0] > 2 * step[1]
            method = cv2.INTER_AREA if is_halving or is_coarse else cv2.INTER_LINEAR
            cv2.resize(picture, step, dst=buffer, interpolation=method)
            picture = buffer
        return picture

    def wipe(self) -> None:
        """Overwrite the last picture in all buffers."""
        for buffer in self._buffers.values():
            buffer.fill(0)


def steps_of(size: Size, target: Size) -> tuple[Size, ...]:
    """The sizes from ``size`` down to ``target``, without ``size``; empty if both are the same."""
    steps = list[Size]()
    width, height = size
    while width % 2 == 0 and height % 2 == 0 and width >= 2 * target[0] and height >= 2 * target[1]:
        width, height = width // 2, height // 2
        if width * height <= _STEP_MAX_PX:  # otherwise the next step is an area
            steps.append((width, height))
    if [size, *steps][-1] != target:
        steps.append(target)
    return tuple(steps)
